package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// maxFileBytes is far above 10,000 imports in one file.
	maxFileBytes = 16 << 20
	// maxKeys bounds a mapping, because yaml.v3 compares every key of it with
	// every other.
	maxKeys = 1000
)

// readFile returns the content of the file at path, and what the file was
// before it was read. The error does not repeat path.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, reason(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, reason(err)
	}
	var data []byte
	if info.Size() <= maxFileBytes {
		data, err = io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	}
	switch {
	case err != nil:
		return nil, nil, reason(err)
	case info.Size() > maxFileBytes || len(data) > maxFileBytes:
		return nil, nil, errors.New("is over 16 MiB")
	}
	return data, info, nil
}

// reason returns err without the name of the file that it is about.
func reason(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}

// decode decodes the one YAML document in data, or none, into v, and refuses
// whatever v has no place for. The error says in which line, and holds no
// value that stands in data: it may be a secret.
func decode(data []byte, v any) (err error) {
	defer func() {
		// yaml.v3 has panicked on malformed input before, and an import file
		// must not take the exporter down.
		if recover() != nil {
			err = errors.New("not valid YAML")
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	err = dec.Decode(&document{v})
	if err == nil {
		var second yaml.Node
		if err = dec.Decode(&second); err == nil {
			return &lineError{second.Line, "another YAML document begins, where one is all there can be"}
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return explain(err, data)
}

// lineError is a problem in one line.
type lineError struct {
	line    int
	problem string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.problem) }

// document is decoded into v. Lists in it are for their entries to inspect.
//
// It has the older form of UnmarshalYAML, as has every type of this package that
// decodes itself: in the newer one KnownFields would be forgotten.
type document struct{ v any }

func (d *document) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal(&inspector{}); err != nil {
		return err
	}
	return unmarshal(d.v)
}

// decodeEntry decodes an entry of a list into v. The error waits for where the
// number of the entry is known.
func decodeEntry(unmarshal func(any) error, v any) error {
	err := unmarshal(&inspector{deep: true})
	if err == nil {
		err = unmarshal(v)
	}
	if err == nil {
		return nil
	}
	return explain(err, nil)
}

// inspector takes nothing from a node but a look at it, and refuses what
// yaml.v3 passes over in silence or is of no use in its errors.
type inspector struct {
	deep bool // into the entries of lists
}

func (i *inspector) UnmarshalYAML(n *yaml.Node) error {
	if n.Style&yaml.TaggedStyle != 0 {
		return &lineError{n.Line, "YAML tags are not supported (a value that begins with ! needs quotes)"}
	}
	if n.Kind == yaml.MappingNode {
		if err := inspectKeys(n); err != nil {
			return err
		}
	}
	for number, child := range n.Content {
		if n.Kind == yaml.SequenceNode {
			if child.ShortTag() == "!!null" {
				return &lineError{child.Line, fmt.Sprintf("entry %d of the list is empty", number+1)}
			}
			if !i.deep {
				continue
			}
		}
		if err := i.UnmarshalYAML(child); err != nil {
			return err
		}
	}
	return nil
}

// inspectKeys does not quote any key: inside of a mapping where a secret should
// be, it may be the secret.
func inspectKeys(n *yaml.Node) error {
	if len(n.Content)/2 > maxKeys {
		return &lineError{n.Line, fmt.Sprintf("over %d keys in one mapping", maxKeys)}
	}
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		first, dup := lines[key.Value]
		lines[key.Value] = key.Line
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null":
			return &lineError{key.Line, "a key must be text"}
		case dup:
			return &lineError{key.Line, fmt.Sprintf("the same key is in line %d already", first)}
		case key.ShortTag() == "!!merge" && value.Kind != yaml.MappingNode:
			return &lineError{key.Line, "<< must be a mapping"}
		case n.Style&yaml.FlowStyle != 0 && value.ShortTag() == "!!null" && value.Value == "":
			return &lineError{key.Line, "a key has no value (is there no space after its colon?)"}
		}
	}
	return nil
}

// explain puts an error of decoding data, which may be nil, in a user's words.
func explain(err error, data []byte) error {
	var (
		terr *yaml.TypeError
		uerr *url.Error
	)
	switch {
	case errors.As(err, &terr):
		return typeError(terr)
	case errors.As(err, &uerr):
		return errors.New("proxy_url: not a URL") // A url.Error quotes it, with any password.
	}
	if m := syntaxPattern.FindStringSubmatch(err.Error()); m != nil {
		return syntaxError(m[1], m[2], data)
	}
	return err
}

// keyPattern matches what looks like a key.
var keyPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{0,40}`)

// shown returns as much of key as looks like a key: where the space after a
// colon is missing, as in {password:hunter2}, the value is part of it.
func shown(key string) string {
	if s := keyPattern.FindString(key); len(s) < len(key) {
		return s + "…"
	}
	return key
}

var (
	unknownKeyPattern = regexp.MustCompile(`(?s)^line (\d+): field (.*) not found in type \S+$`)
	wrongTypePattern  = regexp.MustCompile(`(?s)^line (\d+): cannot unmarshal !!(\w+).* into (\S+)$`)
	syntaxPattern     = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)
)

// typeError says in a user's words what is wrong first, and how much more is.
func typeError(terr *yaml.TypeError) error {
	text := "something is of the wrong type"
	if m := unknownKeyPattern.FindStringSubmatch(terr.Errors[0]); m != nil {
		text = fmt.Sprintf("line %s: unknown key %q", m[1], shown(m[2]))
	} else if m := wrongTypePattern.FindStringSubmatch(terr.Errors[0]); m != nil {
		text = fmt.Sprintf("line %s: %s", m[1], wrongType(m[2], m[3]))
	}
	if more := len(terr.Errors) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more like it)", more)
	}
	return errors.New(text)
}

// wrongType says that something with a YAML tag does not fit a Go type.
func wrongType(tag, goType string) string {
	got, ok := map[string]string{"seq": "a list", "map": "a mapping"}[tag]
	if !ok {
		got = "a single value"
	}
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "must be a list, not " + got
	case goType == "bool":
		return "must be true or false"
	case goType == "string":
		return "must be text, not " + got
	case !ok, goType != "config.plain":
		return "must be a mapping, not " + got
	}
	return got + " does not belong here" // Prometheus calls texts and mappings by that name.
}

// syntaxError says where in data a problem is that yaml.v3 has with it, as far
// as can be known.
func syntaxError(number, problem string, data []byte) error {
	line, _ := strconv.Atoi(number)
	switch name, isAnchor := strings.CutPrefix(problem, "unknown anchor '"); {
	case isAnchor:
		// The name may be a password that begins with an asterisk.
		line = lineOf(data, bytes.Index(data, []byte("*"+strings.TrimSuffix(name, "' referenced"))))
		problem = "no such anchor (a value that begins with * needs quotes)"
	case strings.HasPrefix(problem, "anchor '"):
		return errors.New("not valid YAML: an anchor holds itself")
	case strings.HasPrefix(problem, "document contains"):
		return errors.New("not valid YAML: " + problem)
	case strings.HasPrefix(problem, "did not find expected"):
		// Here yaml.v3 counts from 0, elsewhere from 1, and means where the list
		// or mapping begins that something is wrong in.
		return &lineError{line + 1, "not valid YAML here or below: " + problem}
	case line == 0:
		line = lineOf(data, bytes.IndexFunc(data, func(r rune) bool {
			return r == utf8.RuneError || unicode.IsControl(r) && !unicode.IsSpace(r)
		}))
	}
	return &lineError{line, "not valid YAML: " + problem}
}

// lineOf returns the number of the line in which the byte at offset stands.
func lineOf(data []byte, offset int) int {
	return 1 + bytes.Count(data[:max(0, offset)], []byte("\n"))
}
