package lakefs

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/config"
)

// A token endpoint that was silent once does not keep lakeFS from being asked
// for ever: neither http.Client nor context end what common/config sends there.
func TestSilentTokenEndpoint(t *testing.T) {
	lakeFS := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(lakeFS.Close)
	var asked atomic.Int32
	done := make(chan struct{})
	token := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) <= 2 { // Each token is asked for in two ways.
			<-done
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"token","token_type":"bearer"}`)
	}))
	t.Cleanup(token.Close)
	t.Cleanup(func() { close(done) })

	cfg := config.DefaultHTTPClientConfig
	cfg.OAuth2 = &config.OAuth2{ClientID: "id", ClientSecret: "secret", TokenURL: token.URL}
	hc, err := config.NewClientFromConfig(cfg, "test", config.WithDialContextFunc(impatient(new(net.Dialer).DialContext, 200*time.Millisecond)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hc.CloseIdleConnections)
	base, err := ParseEndpoint(lakeFS.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{base: base, http: hc}
	if err := c.Healthcheck(t.Context()); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("while the token endpoint is silent: %v", err)
	}
	if err := c.Healthcheck(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
