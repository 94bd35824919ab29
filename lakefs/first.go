package lakefs

import (
	"errors"
	"io/fs"
	"net/http"
)

// firstAlone sends nothing else before the first request was answered. With that
// one, common/config begins to ask for OAuth 2 tokens: several at once would each
// begin anew, and ask for their own, while others read what they write. A new
// secret in a file makes it begin anew too, which this cannot know of.
type firstAlone struct {
	next http.RoundTripper
	turn chan struct{} // has one for the first, and is closed for the others
}

func newFirstAlone(next http.RoundTripper) *firstAlone {
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	return &firstAlone{next, turn}
}

// RoundTrip implements http.RoundTripper.
func (f *firstAlone) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case _, first := <-f.turn:
		if first {
			resp, err := f.next.RoundTrip(req)
			var unreadable *fs.PathError
			if errors.As(err, &unreadable) {
				f.turn <- struct{}{} // nothing has begun without the secret
			} else {
				close(f.turn)
			}
			return resp, err
		}
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	return f.next.RoundTrip(req)
}

// CloseIdleConnections is called by http.Client.
func (f *firstAlone) CloseIdleConnections() {
	(&http.Client{Transport: f.next}).CloseIdleConnections()
}
