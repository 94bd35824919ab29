package lakefs

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/common/config"
)

// tokenTimeout bounds a request for an OAuth 2 token. Those who wait for it leave
// at their own deadlines; when it ends late, the token is there for the next.
const tokenTimeout = 10 * time.Second

// unsent answers a request with its own header.
type unsent struct{}

func (unsent) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{Header: r.Header, Body: http.NoBody}, nil
}

// newTokens returns what prometheus/common makes of the settings, which fetches a
// token when there is none that is valid; nil if there are none. It sends no
// requests but returns what their header would be: it has no context, and a
// token_url that never answers would hold up every request.
func newTokens(cfg *config.OAuth2, files *fileReader) http.RoundTripper {
	if cfg == nil {
		return nil
	}
	auth := *cfg
	auth.TLSConfig = files.tls(cfg.TLSConfig)
	secret := cmp.Or( // one of them, by grant_type
		files.value(string(cfg.ClientSecret), cfg.ClientSecretFile),
		files.value(string(cfg.ClientCertificateKey), cfg.ClientCertificateKeyFile))
	return config.NewOAuth2RoundTripper(config.NewInlineSecret(secret), &auth, unsent{},
		config.WithDialContextFunc(dialToken), config.WithKeepAlivesDisabled())
}

// setToken sets the header Authorization of h.
func setToken(h http.Header, tokens http.RoundTripper) error {
	resp, err := tokens.RoundTrip(&http.Request{Header: h, Body: http.NoBody})
	if err != nil {
		return tokenError(err)
	}
	defer resp.Body.Close()
	h.Set("Authorization", resp.Header.Get("Authorization"))
	return nil
}

// dialToken makes a connection for one request.
func dialToken(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: tokenTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(tokenTimeout))
}
