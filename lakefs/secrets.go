package lakefs

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
)

// minSecretBytes keeps redaction from tearing ordinary words apart.
const minSecretBytes = 4

// secrets is what a request was sent with to prove itself. A proxy's error page,
// or a server that means ill, may send it back, and the text of answers ends
// up in logs, metrics and pages.
type secrets struct {
	mu     sync.Mutex
	values []string
}

// add takes note of a header that was sent. It is called by net/http as
// httptrace.ClientTrace has it.
func (s *secrets) add(name string, values []string) {
	switch strings.ToLower(name) {
	case "accept", "accept-encoding", "host", "user-agent":
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range values {
		s.values = append(s.values, value)
		_, credentials, ok := strings.Cut(value, " ")
		if !ok {
			continue
		}
		s.values = append(s.values, credentials)
		if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
			_, password, _ := strings.Cut(string(pair), ":")
			s.values = append(s.values, string(pair), password)
		}
	}
}

// redact blots the secrets out of text, as they are and as JSON has them.
func (s *secrets) redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.values {
		if len(secret) < minSecretBytes {
			continue
		}
		escaped, _ := json.Marshal(secret) // a string is always valid
		for _, form := range []string{secret, string(escaped[1 : len(escaped)-1])} {
			text = strings.ReplaceAll(text, form, "<secret>")
		}
	}
	return text
}

// redact blots secrets out of the texts of s.
func (s *ImportStatus) redact(blot func(string) string) {
	s.MetarangeID = blot(s.MetarangeID)
	if s.Commit != nil {
		s.Commit.ID = blot(s.Commit.ID)
	}
	if s.Error != nil {
		s.Error.Message = blot(s.Error.Message)
	}
}
