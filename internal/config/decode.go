package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxKeys bounds a mapping, because yaml.v3 compares every key of it with every
// other.
const maxKeys = 1000

// decode decodes data, at most one YAML document, into v, and refuses keys that
// v does not have. The error quotes no value from data, which may be a secret.
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
			return lineError(second.Line, "more than one YAML document")
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return explain(err)
}

func lineError(line int, problem string) error { return fmt.Errorf("line %d: %s", line, problem) }

// document is inspected and then decoded into v. It has the older form of
// UnmarshalYAML because the newer one forgets KnownFields.
type document struct{ v any }

func (d *document) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal(&inspector{}); err != nil {
		return err
	}
	return unmarshal(d.v)
}

// inspector only inspects.
type inspector struct{}

func (*inspector) UnmarshalYAML(n *yaml.Node) error { return inspect(n) }

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
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null":
			return lineError(key.Line, "a key must be a string")
		case n.Style&yaml.FlowStyle != 0 && value.ShortTag() == "!!null" && value.Value == "":
			return lineError(key.Line, "a key has no value (is the space after its colon missing?)")
		case seen[key.Value]:
			return lineError(key.Line, "duplicate key")
		}
		seen[key.Value] = true
	}
	return nil
}

// typeErrorPattern matches what of an error in a yaml.TypeError is no value: the
// line, and either the unknown key or the YAML type that does not fit. In
// {password:hunter2}, all is the key.
var typeErrorPattern = regexp.MustCompile(`^(line \d+: )?(?:field ([\w-]{1,40}) not found|cannot unmarshal !!(\w+))?`)

// explain rewords an error of yaml.v3, which may quote a secret.
func explain(err error) error {
	var terr *yaml.TypeError
	if errors.As(err, &terr) {
		m := typeErrorPattern.FindStringSubmatch(terr.Errors[0])
		switch {
		case m[2] != "":
			return fmt.Errorf("%sunknown key %q", m[1], m[2])
		case m[3] != "":
			return fmt.Errorf("%sa value of the YAML type %q is not allowed here", m[1], m[3])
		default:
			return errors.New(m[1] + "unknown key")
		}
	}
	text, ok := strings.CutPrefix(err.Error(), "yaml: ")
	if !ok {
		return err
	}
	if strings.Contains(text, "anchor '") {
		text = "an anchor is unknown or contains itself (quote a value that begins with *)"
	}
	return errors.New("not valid YAML: " + text)
}
