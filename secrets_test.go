package main

import (
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

// secret is one as lakeFS gives them out, with characters that JSON, HTML and
// URLs may write in other ways.
func secret(of string) string { return "s3cr/t+&<" + of + `>"KEYwJalrXUtnFEMI` }

// echo is a server that gives away what it was sent, in every way that an
// answer has: the import ID of the request says in which.
type echo struct {
	*httptest.Server
	// known are secrets that it gives away besides those of the request.
	known []string
}

func newEcho(t *testing.T, known ...string) *echo {
	e := &echo{known: known}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

// given returns all that can be known of the secrets from r, in one line.
func (e *echo) given(r *http.Request) string {
	words := slices.Clone(e.known)
	if user, password, ok := r.BasicAuth(); ok {
		words = append(words, user, password)
	}
	for name, values := range r.Header {
		for _, value := range values {
			words = append(words, name+": "+value)
			if _, credentials, ok := strings.Cut(value, " "); ok {
				words = append(words, credentials)
			}
		}
	}
	if form, err := url.QueryUnescape(r.URL.RawQuery); err == nil {
		words = append(words, form)
	}
	if body, err := io.ReadAll(r.Body); err == nil && len(body) > 0 {
		form, _ := url.QueryUnescape(string(body))
		words = append(words, string(body), form)
	}
	slices.SortFunc(words, func(a, b string) int { return len(a) - len(b) })
	return strings.Join(words, " ")
}

// quoted returns text as JSON, without and with the escapes that others make.
func quoted(text string) (plain, escaped string) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string can be encoded
	plain = strings.TrimSpace(b.String())
	asHTML, _ := json.Marshal(text)
	return plain, strings.ReplaceAll(string(asHTML), "/", `\/`)
}

// ways are the import IDs that echo knows.
var ways = []string{
	"message-401", "message-401-escaped", "message-404", "message-404-invalid", "message-429", "message-500", "message-400",
	"html-200", "html-401", "html-403", "html-502", "html-long",
	"redirect-query", "redirect-user", "redirect-host", "redirect-garbage", "redirect-here",
	"status-error", "status-error-escaped", "status-commit", "status-metarange",
	"wrong-type", "wrong-time", "wrong-number", "wrong-key", "cut-short", "garbage", "header-garbage", "status-garbage", "chunk-garbage",
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	given := e.given(r)
	plain, escaped := quoted(given)
	way := r.URL.Query().Get("id")
	kind, rest, _ := strings.Cut(way, "-")
	const heartbeat = `"update_time":"2026-11-22T10:51:19Z"`
	switch kind {
	case "message":
		text := plain
		switch rest {
		case "401-escaped":
			text = escaped
		case "404-invalid":
			text = `"invalid API endpoint"`
			w.Header().Set("X-Echo", given)
		}
		var status int
		fmt.Sscanf(rest, "%d", &status)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":%s}`, text)
	case "html":
		status := http.StatusOK
		fmt.Sscanf(rest, "%d", &status)
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		page := given
		if rest == "long" {
			page = strings.Repeat(given+"\n", 1000)
		}
		fmt.Fprintf(w, "<html>%s", page)
	case "redirect":
		where := map[string]string{
			"query":   "http://127.0.0.1:1/?" + given,
			"user":    "http://" + url.UserPassword("user", given).String() + "@127.0.0.1:1/",
			"host":    "http://" + strings.ReplaceAll(given, " ", ""),
			"garbage": "::" + given,
			"here":    "/login?id=" + url.QueryEscape("html-200"),
		}[rest]
		w.Header().Set("Location", where)
		w.WriteHeader(http.StatusFound)
		fmt.Fprint(w, given)
	case "status":
		switch rest {
		case "error":
			fmt.Fprintf(w, `{"completed":false,"error":{"message":%s},%s}`, plain, heartbeat)
		case "error-escaped":
			fmt.Fprintf(w, `{"completed":false,"error":{"message":%s},%s}`, escaped, heartbeat)
		case "commit":
			fmt.Fprintf(w, `{"completed":true,"commit":{"id":%s,"message":%s},%s}`, plain, plain, heartbeat)
		case "metarange":
			fmt.Fprintf(w, `{"completed":true,"metarange_id":%s,%s}`, plain, heartbeat)
		case "garbage":
			raw(w, "HTTP/1.1 "+given+"\r\n\r\n")
		}
	case "wrong":
		switch rest {
		case "type":
			fmt.Fprintf(w, `{"completed":%s,%s}`, plain, heartbeat)
		case "time":
			fmt.Fprintf(w, `{"completed":false,"update_time":%s}`, plain)
		case "number":
			fmt.Fprintf(w, `{"completed":false,"ingested_objects":%s,%s}`, plain, heartbeat)
		case "key":
			fmt.Fprintf(w, `{%s:true}`, plain)
		}
	case "cut":
		w.Header().Set("Content-Length", "100000")
		fmt.Fprint(w, given)
	case "garbage":
		raw(w, given+"\r\n\r\n")
	case "header":
		raw(w, "HTTP/1.1 200 OK\r\n"+strings.ReplaceAll(given, ":", "")+"\r\n\r\n")
	case "chunk":
		raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+given+"\r\n")
	case "token":
		w.Header().Set("Content-Type", "application/json")
		token, _ := quoted(e.known[0])
		fmt.Fprintf(w, `{"access_token":%s,"token_type":"bearer"}`, token)
	default:
		// A page of something that is not lakeFS: a token endpoint, a proxy.
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, given)
	}
}

// raw answers with text in place of HTTP.
func raw(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.Close()
}

// No secret is ever said, whoever is told it and says it back.
func TestSecrets(t *testing.T) {
	t.Parallel()
	real := newLakeFS(t, lakefstest.Options{SecretAccessKey: "another"})
	gone := httptest.NewServer(nil)
	gone.Close()
	dir := t.TempDir()

	var config strings.Builder
	needles := map[string]string{} // what must be found nowhere, to what it is
	var imports strings.Builder
	addServer := func(name, address string, ids []string, settings string, secrets ...string) {
		fmt.Fprintf(&config, "- name: %s\n  endpoint_url: %s\n%s", name, address, settings)
		for _, id := range ids {
			imports.WriteString(importYAML(name, lakefs.Ref{Repository: "my-repo", Branch: "main", ID: id}))
		}
		for _, s := range secrets {
			needles[s] = "secret of " + name
			needles[base64.StdEncoding.EncodeToString([]byte(s))] = "base64 of the secret of " + name
			for _, user := range []string{"user", "AKIAUSER", ""} {
				needles[base64.StdEncoding.EncodeToString([]byte(user+":"+s))] = "Authorization of " + name
			}
		}
	}
	inFile := func(name string) string {
		write(t, dir, "secrets/"+name, secret(name)+"\n")
		return "secrets/" + name
	}
	yaml := func(s string) string { // in single quotes
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}

	addServer("basic", newEcho(t).URL, ways,
		"  basic_auth: {username: AKIAUSER, password_file: "+inFile("basic")+"}\n", secret("basic"))
	addServer("inline", newEcho(t).URL, ways,
		"  basic_auth: {username: AKIAUSER, password: "+yaml(secret("inline"))+"}\n", secret("inline"))
	addServer("bearer", newEcho(t).URL, ways,
		"  authorization: {credentials_file: "+inFile("bearer")+"}\n", secret("bearer"))
	addServer("headers", newEcho(t).URL, ways,
		"  http_headers: {X-Key: {secrets: ["+yaml(secret("headers"))+"]}, X-File: {files: ["+inFile("headers-file")+"]}}\n", secret("headers"), secret("headers-file"))
	addServer("oauth2", newEcho(t).URL, ways,
		"  oauth2: {client_id: user, client_secret_file: "+inFile("oauth2")+", token_url: "+newEcho(t).URL+"/token}\n", secret("oauth2"))
	addServer("oauth2-json", newEcho(t).URL, ways[:1],
		"  oauth2: {client_id: user, client_secret: "+yaml(secret("oauth2-json"))+", token_url: '"+newEcho(t).URL+"/?id=message-401'}\n", secret("oauth2-json"))
	addServer("oauth2-gone", newEcho(t).URL, ways[:1],
		"  oauth2: {client_id: user, client_secret: "+yaml(secret("oauth2-gone"))+", token_url: 'http://user:"+url.QueryEscape(secret("oauth2-url"))+"@"+gone.Listener.Addr().String()+"/'}\n",
		secret("oauth2-gone"), secret("oauth2-url"))
	addServer("oauth2-token", newEcho(t).URL, ways,
		"  oauth2: {client_id: user, client_secret: "+yaml(secret("oauth2-client"))+", token_url: '"+newEcho(t, secret("oauth2-token")).URL+"/?id=token'}\n",
		secret("oauth2-client"), secret("oauth2-token"))
	addServer("proxy", "http://lakefs.invalid", ways,
		"  proxy_url: http://"+url.UserPassword("user", secret("proxy")).String()+"@"+newEcho(t).Listener.Addr().String()+"\n  basic_auth: {username: AKIAUSER, password: "+yaml(secret("proxied"))+"}\n",
		secret("proxy"), secret("proxied"))
	addServer("proxy-tls", "https://lakefs.invalid", ways[:1],
		"  proxy_url: http://"+url.UserPassword("user", secret("proxy-tls")).String()+"@"+newEcho(t).Listener.Addr().String()+"\n", secret("proxy-tls"))
	addServer("gone", gone.URL, ways[:1],
		"  basic_auth: {username: AKIAUSER, password: "+yaml(secret("gone"))+"}\n  http_headers: {X-Key: {secrets: ["+yaml(secret("gone-header"))+"]}}\n", secret("gone"), secret("gone-header"))
	addServer("real", real.URL, ways[:1],
		"  basic_auth: {username: AKIAUSER, password_file: "+inFile("real")+"}\n", secret("real"))

	good := "servers:\n" + config.String() + "imports:\n" + imports.String()
	write(t, dir, "config.yml", good)
	e := start(t, dir, nil, "--log.level=debug", "--web.enable-lifecycle", "--storage.path=imports.db")

	said := map[string]string{}
	ask := func(method, path string, change ...func(*http.Request)) {
		t.Helper()
		resp, body := e.send(method, path, change...)
		said[method+" "+path] += fmt.Sprint(resp.Header) + "\n" + body
	}
	openMetrics := func(r *http.Request) { r.Header.Set("Accept", "application/openmetrics-text") }
	ask(http.MethodGet, "/metrics")
	ask(http.MethodGet, "/metrics", openMetrics)
	for _, path := range []string{"/", "/-/healthy", "/-/ready", "/nosuch", "/api/v1/imports", "/imports"} {
		ask(http.MethodGet, path)
	}
	said["GET /imports"] = html.UnescapeString(said["GET /imports"])
	for _, id := range ways {
		for _, server := range []string{"basic", "bearer", "headers", "oauth2", "oauth2-token", "proxy"} {
			ask(http.MethodGet, "/api/v1/imports/my-repo/main/"+id+"?server="+server)
			ask(http.MethodGet, "/probe?target=my-repo/main/"+id+"&server="+server)
		}
	}
	// A config that is broken where a secret stands, in every way to break it.
	for _, broken := range []string{
		strings.Replace(good, "password: '", "password: '\n x: ", 1),
		strings.Replace(good, "{username: AKIAUSER, password: ", "{username: AKIAUSER, password:", 1),
		strings.Replace(good, "{username: AKIAUSER, password: ", "{username: AKIAUSER, pass: ", 1),
		strings.Replace(good, "password: "+yaml(secret("inline")), "password: ["+yaml(secret("inline"))+"]", 1),
		strings.Replace(good, "password: "+yaml(secret("inline")), "password: !x "+yaml(secret("inline")), 1),
		strings.Replace(good, "password: "+yaml(secret("inline")), "password: *"+secret("inline"), 1),
		strings.Replace(good, "endpoint_url: http://", "endpoint_url: http://user:"+secret("basic")+"@", 1),
		strings.Replace(good, "endpoint_url: http://", "endpoint_url: http://user:"+url.QueryEscape(secret("basic"))+"@", 1),
		strings.Replace(good, "proxy_url: http://", "proxy_url: ::", 1),
	} {
		if broken == good {
			t.Fatal("a config that should be broken is not")
		}
		write(t, dir, "config.yml", broken)
		ask(http.MethodPost, "/-/reload")
		write(t, dir, "imports.yml", broken)
	}
	write(t, dir, "config.yml", good+"import_files: [imports.yml]\n")
	ask(http.MethodPost, "/-/reload")
	ask(http.MethodGet, "/metrics")
	errors := strings.Count(e.stderr.String(), "level=error")
	e.signal(syscall.SIGHUP)
	eventually(t, "the config is reloaded by SIGHUP", func() bool { return strings.Count(e.stderr.String(), "was reloaded") == 2 })
	if got := strings.Count(e.stderr.String(), "level=error"); got != errors {
		t.Errorf("%d errors were logged by a good reload", got-errors)
	}
	ask(http.MethodGet, "/api/v1/imports")
	e.stop()

	// Were the secrets sent at all, and the answers looked at?
	if got := strings.Count(said["GET /api/v1/imports"], `\u003csecret\u003e`); got < len(ways) {
		t.Errorf("only %d secrets were blotted out", got)
	}
	for _, server := range []string{"basic", "inline", "bearer", "headers", "oauth2", "oauth2-json", "oauth2-gone", "oauth2-token", "proxy", "proxy-tls", "gone", "real"} {
		if !strings.Contains(e.stderr.String(), "server="+server+" ") {
			t.Errorf("nothing in the log about server %s", server)
		}
	}
	stored, err := os.ReadFile(filepath.Join(dir, "imports.db"))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"page": said["GET /imports"], "storage": string(stored)} {
		if !strings.Contains(text, "<secret>") && !strings.Contains(text, `\u003csecret\u003e`) {
			t.Errorf("no secret was blotted out of the %s", what)
		}
	}
	said["stdout"], said["stderr"], said["storage"] = e.stdout.String(), e.stderr.String(), string(stored)
	for where, text := range said {
		for needle, what := range needles {
			for _, written := range forms(needle) {
				if i := strings.Index(text, written); i >= 0 {
					t.Errorf("%s: the %s is there: …%q…", where, what, text[max(0, i-300):min(len(text), i+len(written)+50)])
					break
				}
			}
		}
	}
}

// forms returns the ways in which s may be written in logs, JSON and metrics,
// also where it was quoted before.
func forms(s string) (all []string) {
	for _, s := range []string{s, strings.Trim(strconv.Quote(s), `"`)} {
		plain, escaped := quoted(s)
		asHTML, _ := json.Marshal(s)
		all = append(all, s, strings.Trim(plain, `"`), strings.Trim(escaped, `"`), strings.Trim(string(asHTML), `"`), url.QueryEscape(s), url.PathEscape(s))
	}
	return slices.Compact(all)
}
