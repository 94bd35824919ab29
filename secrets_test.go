package main

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// secret returns one as lakeFS generates them, with characters that JSON, HTML and
// URLs may escape.
func secret(of string) string { return "s3cr/t+&<" + of + `>"KEYwJalrXUtnFEMI` }

// newEcho starts a server that answers with the secrets that it was sent, and with
// those in known, in the way that the request's import ID says.
func newEcho(t *testing.T, known ...string) *httptest.Server {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		words := slices.Clone(known)
		user, password, _ := r.BasicAuth()
		words = append(words, user, password)
		for name, values := range r.Header {
			_, credentials, _ := strings.Cut(values[0], " ")
			words = append(words, name+": "+values[0], credentials)
		}
		if body, err := io.ReadAll(r.Body); err == nil {
			form, _ := url.QueryUnescape(string(body))
			words = append(words, form)
		}
		answer := cmp.Or(echoes[r.URL.Query().Get("id")], echoes["html-401"])
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		all := strings.Join(words, " ")
		_, _ = strings.NewReplacer("WORDS", all, "JSON", quoted(all), "FIRST", quoted(words[0]), "QUERY", url.QueryEscape(all)).WriteString(conn, answer)
	}))
	t.Cleanup(echo.Close)
	return echo
}

// echoes are answers, by import ID. The words in capitals stand for secrets.
var echoes = map[string]string{
	"message-400":    "HTTP/1.1 400 X\r\nContent-Type: application/json\r\n\r\n" + `{"message":JSON}`,
	"message-401":    "HTTP/1.1 401 X\r\nContent-Type: application/json\r\n\r\n" + `{"message":JSON}`,
	"message-404":    "HTTP/1.1 404 X\r\nContent-Type: application/json\r\n\r\n" + `{"message":JSON}`,
	"message-500":    "HTTP/1.1 500 X\r\nContent-Type: application/json\r\n\r\n" + `{"message":JSON}`,
	"html-200":       "HTTP/1.1 200 X\r\nContent-Type: text/html\r\n\r\n<html>WORDS",
	"html-401":       "HTTP/1.1 401 WORDS\r\nContent-Type: text/html\r\n\r\n<html>WORDS",
	"html-502":       "HTTP/1.1 502 WORDS\r\nContent-Type: WORDS\r\n\r\n<html>WORDS",
	"redirect-query": "HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/?WORDS\r\n\r\n",
	"redirect-user":  "HTTP/1.1 302 X\r\nLocation: http://QUERY@127.0.0.1:1/\r\n\r\n",
	"redirect-bad":   "HTTP/1.1 302 X\r\nLocation: ::WORDS\r\n\r\n",
	"wrong-type":     "HTTP/1.1 200 X\r\n\r\n" + `{"completed":JSON,"update_time":"2026-11-22T10:51:19Z"}`,
	"wrong-time":     "HTTP/1.1 200 X\r\n\r\n" + `{"completed":false,"update_time":JSON}`,
	"wrong-key":      "HTTP/1.1 200 X\r\n\r\n" + `{JSON:false}`,
	"cut-short":      "HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\nWORDS",
	"header":         "HTTP/1.1 200 X\r\nWORDS\r\n\r\n",
	"chunk":          "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nWORDS\r\n",
	"surplus":        "HTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\n{}WORDS",
	"not-http":       "WORDS\r\n\r\n",
	"token":          "HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n" + `{"access_token":FIRST,"token_type":"bearer"}`,
}

// quoted returns text as JSON.
func quoted(text string) string {
	b, _ := json.Marshal(text) // a string can be encoded
	return string(b)
}

// secretServer is a server in the config, with names of secrets that it has.
type secretServer struct {
	name, url, settings string
	secrets             []string
}

// secretServers returns servers with secrets of every kind, after it has written
// those in files to dir.
func secretServers(t *testing.T, dir string) []secretServer {
	inFile := func(name string) string {
		write(t, dir, "secrets/"+name, secret(name)+"\n")
		return "secrets/" + name
	}
	inline := func(name string) string { return "'" + secret(name) + "'" } // as YAML
	gone := httptest.NewServer(nil)
	gone.Close()
	real := newLakeFS(t, lakefstest.Options{SecretAccessKey: "another"})
	proxy := func(name string) string {
		return "http://" + url.UserPassword("user", secret(name)).String() + "@" + newEcho(t).Listener.Addr().String()
	}
	return []secretServer{
		{"basic", newEcho(t).URL, "basic_auth: {username: AKIAUSER, password_file: " + inFile("basic") + "}", []string{"basic"}},
		{"inline", newEcho(t).URL, "basic_auth: {username: AKIAUSER, password: " + inline("inline") + "}", []string{"inline"}},
		{"bearer", newEcho(t).URL, "authorization: {credentials_file: " + inFile("bearer") + "}", []string{"bearer"}},
		{"headers", newEcho(t).URL, "http_headers: {X-Key: {secrets: [" + inline("header") + "]}, X-File: {files: [" + inFile("file") + "]}}", []string{"header", "file"}},
		{"oauth2", newEcho(t).URL, "oauth2: {client_id: user, client_secret_file: " + inFile("oauth2") + ", token_url: " + newEcho(t).URL + "/token}", []string{"oauth2"}},
		{"oauth2-json", newEcho(t).URL, "oauth2: {client_id: user, client_secret: " + inline("json") + ", token_url: '" + newEcho(t).URL + "/?id=message-401'}", []string{"json"}},
		{
			"oauth2-gone", newEcho(t).URL, "oauth2: {client_id: user, client_secret: " + inline("client") + ", token_url: 'http://user:" +
				url.QueryEscape(secret("url")) + "@" + gone.Listener.Addr().String() + "/'}", []string{"client", "url"},
		},
		{
			"oauth2-token", newEcho(t).URL, "oauth2: {client_id: user, client_secret: " + inline("issuer") + ", token_url: '" +
				newEcho(t, secret("token")).URL + "/?id=token'}", []string{"issuer", "token"},
		},
		{"proxy", "http://lakefs.invalid", "proxy_url: " + proxy("proxy") + "\n  basic_auth: {username: AKIAUSER, password: " + inline("proxied") + "}", []string{"proxy", "proxied"}},
		{"proxy-tls", "https://lakefs.invalid", "proxy_url: " + proxy("connect"), []string{"connect"}},
		{"gone", gone.URL, "basic_auth: {username: AKIAUSER, password: " + inline("gone") + "}", []string{"gone"}},
		{"real", real.URL, "basic_auth: {username: AKIAUSER, password_file: " + inFile("real") + "}", []string{"real"}},
	}
}

// brokenConfigs returns the config, broken next to a secret in one way each.
func brokenConfigs(t *testing.T, config string) (broken []string) {
	for old, with := range map[string]string{
		"password: '":                               `password: "'`,
		"{username: AKIAUSER, password: ":           "{username: AKIAUSER, pass: ",
		"password: " + "'" + secret("inline") + "'": "password: *" + secret("inline"),
		"client_secret: '":                          "client_secret: !x '",
		"endpoint_url: http://":                     "endpoint_url: http://user:" + url.QueryEscape(secret("basic")) + "@",
		"proxy_url: http://":                        "proxy_url: ::",
	} {
		if !strings.Contains(config, old) {
			t.Fatalf("no %s in the config", old)
		}
		broken = append(broken, strings.Replace(config, old, with, 1))
	}
	return broken
}

// No secret appears in anything that the program writes, even if a server that was
// sent it answers with it.
func TestSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	servers := secretServers(t, dir)
	config, imports := "servers:\n", "imports:\n"
	for _, s := range servers {
		config += fmt.Sprintf("- name: %s\n  endpoint_url: %s\n  %s\n", s.name, s.url, s.settings)
		for id := range echoes {
			imports += importYAML(s.name, lakefs.Ref{Repository: "my-repo", Branch: "main", ID: id})
		}
	}
	config += imports
	write(t, dir, "config.yml", config)
	e := start(t, dir, nil, "--log.level=debug", "--web.enable-lifecycle", "--storage.path=imports.db")

	said := map[string]string{}
	ask := func(method, path string, change ...func(*http.Request)) {
		t.Helper()
		resp, body := e.send(method, path, change...)
		said[method+" "+path] += fmt.Sprint(resp.Header) + "\n" + html.UnescapeString(body) + "\n" + body
	}
	ask(http.MethodGet, "/metrics")
	ask(http.MethodGet, "/metrics", func(r *http.Request) { r.Header.Set("Accept", "application/openmetrics-text") })
	for _, path := range []string{"/", "/-/healthy", "/-/ready", "/nosuch", "/api/v1/imports", "/imports"} {
		ask(http.MethodGet, path)
	}
	for id := range echoes {
		ask(http.MethodGet, "/api/v1/imports/my-repo/main/"+id+"?server=basic")
		ask(http.MethodGet, "/probe?target=my-repo/main/"+id+"&server=bearer")
	}
	for _, broken := range brokenConfigs(t, config) {
		write(t, dir, "config.yml", broken)
		ask(http.MethodPost, "/-/reload")
		write(t, dir, "imports.yml", broken)
	}
	if !strings.Contains(said["POST /-/reload"], "Failed to reload") || strings.Contains(said["POST /-/reload"], "Configuration reloaded") {
		t.Errorf("broken configs: %s", said["POST /-/reload"])
	}
	write(t, dir, "config.yml", config+"import_files: [imports.yml]\n")
	e.signal(syscall.SIGHUP)
	eventually(t, "the import file fails to load", func() bool { return strings.Contains(e.stderr.String(), "file=imports.yml") })
	ask(http.MethodGet, "/metrics")
	e.stop()

	stored, err := os.ReadFile(filepath.Join(dir, "imports.db"))
	must(t, err)
	said["stdout"], said["stderr"], said["storage"] = e.stdout.String(), e.stderr.String(), string(stored)
	for _, s := range servers {
		if !strings.Contains(said["stderr"], "server="+s.name+" ") {
			t.Errorf("nothing in the log about server %s", s.name)
		}
		for _, name := range s.secrets {
			for where, text := range said {
				for _, form := range encodings(secret(name)) {
					if i := strings.Index(text, form); i >= 0 {
						t.Errorf("%s: contains the secret %s of %s: …%q…", where, name, s.name, text[max(0, i-300):min(len(text), i+len(form)+50)])
					}
				}
			}
		}
	}
}

// encodings returns the ways in which s may be written in logs, JSON, URLs, metrics
// and headers.
func encodings(s string) []string {
	all := []string{base64.StdEncoding.EncodeToString([]byte(s))}
	for _, user := range []string{"user", "AKIAUSER", ""} {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(user+":"+s)))
	}
	for _, s := range []string{s, strings.Trim(strconv.Quote(s), `"`)} {
		var unescaped strings.Builder
		enc := json.NewEncoder(&unescaped)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(s) // a string can be encoded
		all = append(all, s, strings.Trim(quoted(s), `"`), strings.Trim(strings.TrimSpace(unescaped.String()), `"`), url.QueryEscape(s), url.PathEscape(s))
	}
	return all
}
