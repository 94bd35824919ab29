package lakefs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

const jsonSpace = " \t\r\n"

// decodeObject calls decode with every key of the JSON object data, as it is
// spelled, and the key's value if it is not null. encoding/json takes "Completed" for "completed"
// too, and costs several times as much. Errors do not quote from data.
func decodeObject(data []byte, decode func(key, value []byte) error) error {
	data = bytes.TrimLeft(data, jsonSpace)
	if !json.Valid(data) || data[0] != '{' {
		return errors.New("not an object")
	}
	for rest := data[1:]; ; {
		var key, value []byte
		if key, rest = cutToken(rest, ':'); len(key) == 0 {
			return nil
		}
		value, rest = cutToken(rest, ',')
		key = bytes.Trim(key, `"`)
		if string(value) != "null" && decode(key, value) != nil {
			return fmt.Errorf("%s has a value of another type", key)
		}
	}
}

// cutToken cuts what is left of a valid JSON object after its next key or value:
// at the separator, or at the end of the object.
func cutToken(data []byte, separator byte) (token, rest []byte) {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case depth == 0 && (c == separator || c == '}'):
			return bytes.Trim(data[:i], jsonSpace), data[i+1:]
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil, nil
}
