package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"lakefs_import_exporter/collector"
)

// What an import that comes over the API may have, since it is kept in memory,
// on disk and in Prometheus.
const (
	maxSettingsBytes = 64 << 10 // the body of a PUT
	maxLabels        = 32
	maxLabelBytes    = 4 << 10 // names and values of all
	maxBranchBytes   = 1 << 10 // to lakeFS, a branch may be of any length
)

// settings are the body of a PUT. What is left out, or null, is as in the config.
type settings struct {
	ExpectedObjects *int64            `json:"expected_objects"`
	NoProgressAfter *string           `json:"no_progress_after"`
	Labels          map[string]string `json:"labels"`
}

// readSettings reads one JSON object, or nothing. The error says what is wrong
// in words of the body.
func readSettings(body io.Reader) (s settings, err error) {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	switch err := dec.Decode(&s); {
	case errors.Is(err, io.EOF):
		return s, nil
	case err != nil:
		return s, explain(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return s, errors.New("must be one JSON object")
	}
	return s, nil
}

// explain puts an error of encoding/json in words that need no Go.
func explain(err error) error {
	var terr *json.UnmarshalTypeError
	switch {
	case errors.As(err, &terr) && terr.Field == "":
		return errors.New("must be a JSON object, not " + terr.Value)
	case errors.As(err, &terr):
		want := map[string]string{"int64": "a whole number", "string": "a string"}[terr.Type.String()]
		if want == "" {
			want = "an object of strings"
		}
		return fmt.Errorf("%s: must be %s, not %s", terr.Field, want, terr.Value)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("is cut short")
	}
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return errors.New("unknown key " + key)
	}
	return err
}

// of returns the import of key with the settings s. The error names the first
// that is wrong.
func (s settings) of(key collector.Key) (imp collector.Import, err error) {
	if err := s.bounded(key); err != nil {
		return imp, err
	}
	imp = collector.Import{Key: key, NoProgressAfter: collector.DefaultNoProgressAfter, Labels: s.Labels}
	if s.ExpectedObjects != nil {
		if *s.ExpectedObjects < 1 {
			return imp, fmt.Errorf("expected_objects %d: must be positive", *s.ExpectedObjects)
		}
		imp.ExpectedObjects = *s.ExpectedObjects
	}
	if s.NoProgressAfter != nil {
		d, err := model.ParseDuration(*s.NoProgressAfter)
		if err != nil {
			return imp, fmt.Errorf("no_progress_after: %w", err)
		}
		imp.NoProgressAfter = time.Duration(d)
	}
	return imp, imp.Validate()
}

// bounded reports the first of what is unbounded elsewhere that is too much.
func (s settings) bounded(key collector.Key) error {
	size := 0
	for name, value := range s.Labels {
		size += len(name) + len(value)
	}
	switch {
	case len(key.Branch) > maxBranchBytes:
		return fmt.Errorf("branch: is %d bytes long, %d are permitted", len(key.Branch), maxBranchBytes)
	case len(s.Labels) > maxLabels:
		return fmt.Errorf("labels: there are %d, %d are permitted", len(s.Labels), maxLabels)
	case size > maxLabelBytes:
		return fmt.Errorf("labels: names and values have %d bytes in all, %d are permitted", size, maxLabelBytes)
	}
	return nil
}
