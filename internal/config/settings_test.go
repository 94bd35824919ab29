package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/collector"
)

func TestDecodeSettings(t *testing.T) {
	bare := newImport("prod", "abc")
	all, odd := bare, bare
	all.ExpectedObjects, all.NoProgressAfter, all.MaxDuration = 5, 2*time.Hour, 30*time.Hour
	all.Labels = map[string]string{"team": "ingest"}
	odd.Labels = map[string]string{"a": "yes", "b": "😀/\a\"\\", "c": "x\u2028y", "d": "&x *y !z {#} : 1", "e": "", "f": "1.10"}
	for name, tt := range map[string]struct {
		body string
		want collector.Import
	}{
		"nothing":     {"", bare},
		"white space": {" \r\n\t", bare},
		"empty":       {"{}", bare},
		"nulls":       {`{"expected_objects": null, "no_progress_after": null, "max_duration": null, "labels": null}`, bare},
		"all":         {"{\r\n\t" + `"expected_objects":5, "no_progress_after": "2h", "max_duration": "1d6h", "labels": {"team": "ingest"}}` + "\n", all},
		"odd labels": {
			`{"labels": {"a": "yes", "b": "\ud83d\ude00\/\u0007\"\\", "c": "x` + "\u2028" + `y", "d": "&x *y !z {#} : 1", "e": "", "f": 1.10}}`, odd,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeSettings([]byte(tt.body), bare.Key, bare.Branch)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, error %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

func TestDecodeBadSettings(t *testing.T) {
	labels := func(n, length int) string {
		pairs := make([]string, n)
		for i := range pairs {
			pairs[i] = fmt.Sprintf(`"k%03d": %q`, i, strings.Repeat("v", length-4))
		}
		return `{"labels": {` + strings.Join(pairs, ",") + `}}`
	}
	const tooMany = "labels: more than 32, or more than 4096 bytes of names and values"
	key := newImport("prod", "abc").Key
	for _, bad := range append(badFiles(t, "testdata/bad_settings.txtar"),
		badFile{"many labels", tooMany, labels(33, 5)},
		badFile{"very many labels", "line 1: more than 1000 keys in one mapping", labels(maxKeys+1, 5)},
		badFile{"large labels", tooMany, labels(32, 129)},
		badFile{"large body", "larger than 64 KiB", "{" + strings.Repeat(" ", MaxSettingsBytes) + "}"},
	) {
		t.Run(bad.name, func(t *testing.T) {
			_, err := DecodeSettings([]byte(bad.content), key, "main")
			checkError(t, err, bad.want)
		})
	}
	if _, err := DecodeSettings([]byte(labels(32, 128)), key, "-"); err != nil {
		t.Error(err)
	}
	key.ID = "a b"
	_, err := DecodeSettings(nil, key, "main")
	checkError(t, err, `id "a b": must match ^[A-Za-z0-9_-]{1,128}$`)
}
