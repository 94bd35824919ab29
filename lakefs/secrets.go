package lakefs

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/common/config"
)

// minSecretBytes keeps redaction from tearing ordinary words apart.
const minSecretBytes = 4

// secrets is what a request was sent with to prove itself. A proxy's error page,
// or a server that means ill, may send it back, and the text of answers ends
// up in logs, metrics and pages.
type secrets struct {
	public map[string]bool // headers that hold none, by canonical name

	mu     sync.Mutex
	values []string
}

// publicHeaders returns the headers of every request that hold no secret: our
// own, and those whose values stand in the config for all to see.
func publicHeaders(configured *config.Headers) map[string]bool {
	public := map[string]bool{"Accept": true, "Accept-Encoding": true, "Host": true, "User-Agent": true}
	if configured == nil {
		return public
	}
	for name, header := range configured.Headers {
		if len(header.Secrets) == 0 && len(header.Files) == 0 {
			public[http.CanonicalHeaderKey(name)] = true
		}
	}
	return public
}

// add takes note of a header that was sent. It is called by net/http as
// httptrace.ClientTrace has it.
func (s *secrets) add(name string, values []string) {
	if s.public[http.CanonicalHeaderKey(name)] { // HTTP/2 has them in lower case
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
