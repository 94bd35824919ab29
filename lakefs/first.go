package lakefs

import "net/http"

// firstAlone sends nothing else before the first request was answered. With that
// one, common/config begins to ask for OAuth 2 tokens: several at once would each
// begin anew, and ask for their own, while others read what they write.
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
			defer close(f.turn)
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
