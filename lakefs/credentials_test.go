package lakefs_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/common/config"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until the error, or nil, is as wanted: files are read again a
// moment after they have changed.
func eventually(t *testing.T, client *lakefs.Client, ref lakefs.Ref, wanted func(error) bool) (err error) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if _, err = client.ImportStatus(t.Context(), ref); wanted(err) {
			return err
		}
	}
	t.Fatalf("still got %v", err)
	return nil
}

func succeeds(err error) bool { return err == nil }

func isCredentials(err error) bool {
	var e *lakefs.Error
	return errors.As(err, &e) && e.Kind == lakefs.Credentials
}

// Key ID and secret rotate together, and nothing is sent without them.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	user, password := filepath.Join(dir, "user"), filepath.Join(dir, "password")
	writeFile(t, user, "old user\n")
	writeFile(t, password, "old secret\n")
	server, client, ref := setup(t, func(c *config.HTTPClientConfig) {
		c.BasicAuth = &config.BasicAuth{UsernameFile: user, PasswordFile: password}
	})
	_, err := client.ImportStatus(t.Context(), ref)
	wantError(t, err, lakefs.Unauthorized)
	if u, p, _ := (&http.Request{Header: server.Stats().LastHeader}).BasicAuth(); u != "old user" || p != "old secret" {
		t.Errorf("sent %q, %q", u, p)
	}
	for _, tc := range []struct {
		name   string
		damage func() error // of a path where there is nothing
		want   string
	}{
		{"missing", func() error { return nil }, "no such file"},
		{"empty", func() error { return os.WriteFile(password, []byte("\n"), 0o600) }, "empty"},
		{"pipe", func() error { return syscall.Mkfifo(password, 0o600) }, "not a regular file"},
		{"device", func() error { return os.Symlink("/dev/zero", password) }, "not a regular file"},
		{"too large", func() error { return os.WriteFile(password, make([]byte, 1<<20+1), 0o600) }, "larger than 1024 KiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			writeFile(t, user, lakefstest.AccessKeyID)
			writeFile(t, password, lakefstest.SecretAccessKey+"\n")
			eventually(t, client, ref, succeeds)
			if err := os.Remove(password); err != nil {
				t.Fatal(err)
			}
			if err := tc.damage(); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(password)
			err := eventually(t, client, ref, isCredentials)
			if !strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v", err)
			}
			server.ResetStats()
			_, err = client.ImportStatus(t.Context(), ref)
			if wantError(t, err, lakefs.Credentials); server.Stats().Requests != 0 {
				t.Errorf("%d requests were sent", server.Stats().Requests)
			}
		})
	}
}

func TestHeaderThatCannotBeSent(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	writeFile(t, token, "two\nlines")
	_, client, ref := setup(t, func(c *config.HTTPClientConfig) {
		c.BasicAuth, c.Authorization = nil, &config.Authorization{Type: "Bearer", CredentialsFile: token}
	})
	_, err := client.ImportStatus(t.Context(), ref)
	if wantError(t, err, lakefs.Credentials); strings.Contains(err.Error(), "two") {
		t.Errorf("shows a secret: %v", err)
	}
}

func TestTLS(t *testing.T) {
	example := httptest.NewTLSServer(nil)
	example.Close()
	serverTLS := &tls.Config{Certificates: example.TLS.Certificates}
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: example.Certificate().Raw}))
	server, _ := newServer(t, lakefstest.Options{TLS: serverTLS})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, caFile, ca)
	for want, cfg := range map[string]config.TLSConfig{
		"": {CA: ca},
		"certificate is not trusted (unknown authority, or expired)": {},
		"certificate is not valid for other.example.org":             {CA: ca, ServerName: "other.example.org"},
	} {
		client := newClient(t, server.URL, func(c *config.HTTPClientConfig) { c.TLSConfig = cfg })
		_, err := client.ImportStatus(t.Context(), ref)
		if errorText(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	client := newClient(t, server.URL, func(c *config.HTTPClientConfig) { c.TLSConfig.CAFile = caFile })
	wantStatus(t, client, ref)
	writeFile(t, caFile, "nothing")
	eventually(t, client, ref, isCredentials)
	writeFile(t, caFile, ca)
	eventually(t, client, ref, succeeds)
	if err := os.Remove(caFile); err != nil {
		t.Fatal(err)
	}
	eventually(t, client, ref, func(err error) bool { return isCredentials(err) && errors.Is(err, os.ErrNotExist) })
	settings := config.HTTPClientConfig{TLSConfig: config.TLSConfig{CAFile: caFile}}
	if _, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: server.URL, HTTP: settings}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("NewClient: got %v", err)
	}
}

// tokenServer hands out the token a.b.c, and the requests to check before.
func tokenServer(t *testing.T, check http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check(w, r)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"a.b.c","token_type":"bearer"}`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// withOAuth2 returns a lakeFS that takes the token a.b.c, and a client of it.
func withOAuth2(t *testing.T, auth config.OAuth2) (*lakefs.Client, lakefs.Ref) {
	t.Helper()
	lakeFS, _ := newServer(t, lakefstest.Options{Token: "a.b.c"})
	client := newClient(t, lakeFS.URL, func(c *config.HTTPClientConfig) { c.BasicAuth, c.OAuth2 = nil, &auth })
	return client, lakeFS.Start("my-repo", "main", lakefstest.Script{})
}

// However many requests are the first, one token is asked for; and another with
// another secret.
func TestOAuth2(t *testing.T) {
	const requests = 32
	var begun, all sync.WaitGroup
	newest := make(chan string, requests)
	url := tokenServer(t, func(_ http.ResponseWriter, r *http.Request) {
		begun.Wait()
		_, secret, _ := r.BasicAuth()
		newest <- secret
	})
	file := filepath.Join(t.TempDir(), "secret")
	writeFile(t, file, "one")
	client, ref := withOAuth2(t, config.OAuth2{ClientID: "id", ClientSecretFile: file, TokenURL: url})
	begun.Add(requests)
	for range requests {
		all.Go(func() {
			begun.Done()
			if _, err := client.ImportStatus(t.Context(), ref); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if secret := <-newest; secret != "one" || len(newest) > 0 {
		t.Errorf("asked for %d more tokens after that with secret %s", len(newest), secret)
	}
	writeFile(t, file, "two")
	eventually(t, client, ref, func(error) bool { return len(newest) > 0 })
	if secret := <-newest; secret != "two" {
		t.Errorf("asked for a token with secret %s", secret)
	}
}

// The grant of RFC 7523 signs with a key.
func TestOAuth2JWT(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	url := tokenServer(t, func(_ http.ResponseWriter, r *http.Request) {
		token, err := jwt.Parse(r.FormValue("assertion"), func(*jwt.Token) (any, error) { return &key.PublicKey, nil })
		if err != nil || token.Method.Alg() != "RS384" || r.FormValue("extra") != "x" {
			t.Errorf("got %v, %v", r.Form, err)
		}
	})
	client, ref := withOAuth2(t, config.OAuth2{
		GrantType:            "urn:ietf:params:oauth:grant-type:jwt-bearer",
		ClientID:             "id",
		ClientCertificateKey: config.Secret(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		SignatureAlgorithm:   "RS384",
		EndpointParams:       map[string]string{"extra": "x"},
		TokenURL:             url,
	})
	wantStatus(t, client, ref)
}

// A token_url that trickles holds up nobody beyond the deadline of the request, and
// is asked again afterwards.
func TestOAuth2Hangs(t *testing.T) {
	stop := make(chan struct{})
	url := tokenServer(t, func(w http.ResponseWriter, r *http.Request) { trickle(w, r, stop) })
	client, ref := withOAuth2(t, config.OAuth2{ClientID: "id", ClientSecret: "secret", TokenURL: url})
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := client.ImportStatus(ctx, ref)
		wantError(t, err, lakefs.Timeout)
		cancel()
	}
	close(stop)
	eventually(t, client, ref, succeeds)
}

// trickle answers with a byte now and then.
func trickle(w http.ResponseWriter, r *http.Request, stop <-chan struct{}) {
	_, _ = io.Copy(io.Discard, r.Body)
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// TestTokenServerIsNotQuoted has the server of tokens send back the secret.
func TestTokenServerIsNotQuoted(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		kind         lakefs.Kind
		text         string
	}{
		{"refusal", "HTTP/1.1 401 " + secret + "\r\nContent-Length: 7\r\n\r\n" + secret, lakefs.Unauthorized, "token_url answered with HTTP status 401"},
		{"error", "HTTP/1.1 500 " + secret + "\r\nContent-Length: 7\r\n\r\n" + secret, lakefs.Connection, "token_url answered with HTTP status 500"},
		{"not JSON", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + secret, lakefs.Connection, "token_url: no valid HTTP response"},
		{"over 1 MiB", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat(secret, 200_000), lakefs.Connection, "token_url: no valid HTTP response"},
		{"not HTTP", secret + "\r\n\r\n", lakefs.Connection, "token_url: no valid HTTP response"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, _ := rawServer(t, tc.answer)
			client, ref := withOAuth2(t, config.OAuth2{ClientID: "id", ClientSecret: secret, TokenURL: url})
			_, err := client.ImportStatus(t.Context(), ref)
			if e := wantError(t, err, tc.kind); e.Error() != tc.text {
				t.Errorf("got %q, want %q", e, tc.text)
			}
		})
	}
}
