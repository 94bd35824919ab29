package lakefs

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
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

	mu      sync.Mutex
	headers []string // values of those that may hold one
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
	s.headers = append(s.headers, values...)
}

// parts returns the value of a header and all in it that is a secret by itself.
func parts(value string) []string {
	_, credentials, ok := strings.Cut(value, " ")
	if !ok {
		return []string{value}
	}
	all := []string{value, credentials}
	if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
		_, password, _ := strings.Cut(string(pair), ":")
		all = append(all, string(pair), password)
	}
	return all
}

// redact blots the secrets out of text: as they are, as JSON has them, and as
// net/http quotes what it does not understand of an answer.
func (s *secrets) redact(text string) string {
	if text == "" {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range s.headers {
		for _, secret := range parts(value) {
			if len(secret) < minSecretBytes {
				continue
			}
			escaped, _ := json.Marshal(secret) // a string is always valid
			quoted := strconv.Quote(secret)
			for _, form := range []string{secret, string(escaped[1 : len(escaped)-1]), quoted[1 : len(quoted)-1]} {
				text = strings.ReplaceAll(text, form, "<secret>")
			}
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
