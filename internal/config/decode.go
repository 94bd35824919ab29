package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxKeys bounds a mapping, because yaml.v3 compares every key of it with
	// every other.
	maxKeys = 1000
	// maxErrors bounds what is said about one file.
	maxErrors = 20
)

// written is a value of the YAML, such as an entry of a list. What is wrong with
// one does not keep others from being decoded.
type written[T any] struct {
	value T
	line  int   // where it begins
	err   error // why value is not what is written, to be explained
}

// UnmarshalYAML has the older form because the newer one forgets KnownFields.
func (w *written[T]) UnmarshalYAML(unmarshal func(any) error) error {
	var n node
	_ = unmarshal(&n) // never fails
	w.line = n.Line
	if d, ok := any(&w.value).(interface{ setDefaults() }); ok {
		d.setDefaults()
	}
	w.err = unmarshal(&w.value)
	if terr, ok := errors.AsType[*yaml.TypeError](w.err); ok {
		terr.Errors = slices.Clone(terr.Errors) // yaml.v3 uses the slice again
	}
	return nil
}

// node is what is being decoded.
type node struct{ *yaml.Node }

// UnmarshalYAML implements yaml.Unmarshaler.
func (n *node) UnmarshalYAML(decoded *yaml.Node) error {
	n.Node = decoded
	return nil
}

// decode decodes data, at most one YAML document, and refuses keys that T does not
// have. Its errors quote no value from data that may be a secret; there is none for
// what is within a written of T.
func decode[T any](data []byte) (_ T, errs []error) {
	defer func() {
		// yaml.v3 has panicked on malformed input before, and an import file
		// must not take the exporter down.
		if recover() != nil {
			errs = []error{errors.New("not valid YAML")}
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var document inspected[T]
	err := dec.Decode(&document)
	if err == nil {
		var second yaml.Node
		if err = dec.Decode(&second); err == nil {
			err = lineError(second.Line, "more than one YAML document")
		}
	}
	tab := indentedWithTab.FindIndex(data)
	switch {
	case errors.Is(err, io.EOF):
		return document.value, nil
	case tab != nil && strings.Contains(err.Error(), "cannot start any token"):
		err = lineError(1+bytes.Count(data[:tab[1]], []byte("\n")), "indented with a tab (use spaces)")
	}
	return document.value, explain(err)
}

// inspected is a document that is inspected before it is decoded.
type inspected[T any] struct{ value T }

// UnmarshalYAML has the older form, as that of written.
func (i *inspected[T]) UnmarshalYAML(unmarshal func(any) error) error {
	var n node
	_ = unmarshal(&n) // never fails
	if err := inspect(n.Node); err != nil {
		return err
	}
	return unmarshal(&i.value)
}

// bounded returns the first of errs, by their lines.
func bounded(errs []error) []error {
	line := func(err error) (n int) {
		_, _ = fmt.Sscanf(err.Error(), "line %d:", &n)
		return n
	}
	slices.SortStableFunc(errs, func(a, b error) int { return cmp.Compare(line(a), line(b)) })
	if len(errs) > maxErrors {
		errs = append(errs[:maxErrors:maxErrors], errors.New("and more"))
	}
	return errs
}

var indentedWithTab = regexp.MustCompile(`(?m)^ *\t`)

func lineError(line int, problem string) error { return fmt.Errorf("line %d: %s", line, problem) }

// inspect refuses what yaml.v3 accepts silently, reports with values, or takes
// too long for.
func inspect(n *yaml.Node) error {
	if n.Style&yaml.TaggedStyle != 0 {
		return lineError(n.Line, "YAML tags are not supported (quote a value that begins with !)")
	}
	if n.Kind == yaml.MappingNode {
		if err := inspectKeys(n); err != nil {
			return err
		}
	}
	for _, child := range n.Content {
		if n.Kind == yaml.SequenceNode && child.ShortTag() == "!!null" {
			return lineError(child.Line, "an entry of a list is empty")
		}
		if err := inspect(child); err != nil {
			return err
		}
	}
	return nil
}

// inspectKeys quotes no key, which in {username: me, hunter2} is a secret.
func inspectKeys(n *yaml.Node) error {
	if len(n.Content)/2 > maxKeys {
		return lineError(n.Line, fmt.Sprintf("more than %d keys in one mapping", maxKeys))
	}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null":
			return lineError(key.Line, "a key must be a string")
		case n.Style&yaml.FlowStyle != 0 && value.ShortTag() == "!!null" && value.Value == "":
			return lineError(key.Line, "a key has no value (is the space after its colon missing?)")
		}
	}
	return nil
}

// typeErrors match, of an error in a yaml.TypeError, what is no value. In
// {password:hunter2}, all is the key.
var typeErrors = regexp.MustCompile(`(?s)^(line \d+: )(?:` +
	`field ([\w-]{1,40}) not found in type (\S+)|` +
	`mapping key "([\w-]{1,40})" already defined|` +
	`cannot unmarshal !!(\w+) (?:.* )?into (\S+)$|` +
	`("[^"]*" is not a positive .*))?`)

// wantedTypes are what a Go type is written as.
var wantedTypes = map[string]string{
	"string": "text", "map[string]string": "a mapping",
	"config.file": "a mapping", "config.server": "a mapping", "config.entry": "a mapping", "config.repository": "a mapping",
}

// yamlTypes are YAML's own names in plain words.
var yamlTypes = map[string]string{"map": "a mapping", "seq": "a list", "str": "text", "int": "a number", "float": "a number", "bool": "true or false"}

// explain rewords an error of yaml.v3, which may quote a secret, or several.
func explain(err error) (errs []error) {
	var (
		terr *yaml.TypeError
		uerr *url.Error
	)
	joined, isJoined := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case isJoined:
		for _, err := range joined.Unwrap() {
			errs = append(errs, explain(err)...)
		}
		return errs
	case errors.As(err, &terr):
		for _, text := range terr.Errors[:min(len(terr.Errors), maxErrors+1)] {
			errs = append(errs, errors.New(explainType(text)))
		}
		return errs
	case errors.As(err, &uerr):
		return []error{errors.New("proxy_url: not a URL")} // the only setting that is parsed
	}
	text, ok := strings.CutPrefix(err.Error(), "yaml: ")
	switch {
	case !ok:
		return []error{err}
	case strings.Contains(text, "anchor '"):
		text = "an anchor is unknown or contains itself (quote a value that begins with *)"
	}
	line := startsWithLine.FindString(text)
	return []error{errors.New(line + "not valid YAML: " + text[len(line):])}
}

var startsWithLine = regexp.MustCompile(`^line \d+: `)

func explainType(text string) string {
	m := typeErrors.FindStringSubmatch(text)
	switch line, key, typ, twice, tag, target, problem := m[1], m[2], m[3], m[4], m[5], m[6], m[7]; {
	case key != "":
		return fmt.Sprintf("%sunknown key %q%s", line, key, hint(key, knownKeys[typ]))
	case twice != "":
		return fmt.Sprintf("%sduplicate key %q", line, twice)
	case tag != "":
		wanted := wantedTypes[target]
		if strings.HasPrefix(target, "[]") {
			wanted = "a list"
		}
		got := cmp.Or(yamlTypes[tag], "YAML of the type "+tag)
		if wanted != "" {
			return line + "must be " + wanted + ", not " + got
		}
		return line + got + " is not allowed here"
	case problem != "":
		return line + problem
	default:
		return line + "unknown or duplicate key"
	}
}
