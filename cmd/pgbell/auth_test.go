package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nowhere is a database that nobody needs to reach.
const nowhere = "postgres://u@127.0.0.1:1/d"

const jwtSecret = "0123456789abcdef0123456789abcdef"

// secretFile writes a secret and returns the flag that names its file.
func secretFile(t *testing.T, secret string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--jwt-secret-file", path}
}

// makeToken is pgbell token.
func makeToken(t *testing.T, args ...string) string {
	t.Helper()
	r := runEnv(t, nil, append([]string{"token"}, args...)...)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("pgbell token %q: exit %d: %s", args, r.code, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// presence asks for a scope with a header, or without one, and returns the answer's code
// and the type of its problem. What /presence asks of one is what /events does.
func presence(t *testing.T, server, query, header, value string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+"/presence?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		req.Header.Set(header, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Type string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimPrefix(answer.Type, "urn:pgbell:problem:")
}

func TestTokenOpensWhatItNames(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key, owner text)`)
	mustRun(t, db, "attach", "tasks", "--scope", "task:{id}", "--audience", "owner")
	key := secretFile(t, jwtSecret)
	about := append(key, "--jwt-issuer", "us", "--jwt-audience", "pgbell")
	p, server := beginServe(t, db, append([]string{"--auth", "jwt", "--jwt-query-param", "--log-level", "debug", "--drain", "0s"}, about...)...)
	token := func(args ...string) string { return makeToken(t, append(args, about...)...) }
	alice := token("--user", "alice", "--scope", "task:*", "--scope", "news")

	for _, test := range []struct {
		name, query, header, value string
		code                       int
		problem                    string
	}{
		{"header", "scope=task:1", "Authorization", "Bearer " + alice, 200, ""},
		{"cookie", "scope=news", "Cookie", "pgbell_token=" + alice, 200, ""},
		{"query", "scope=task:1&token=" + alice, "", "", 200, ""},
		{"another scope", "scope=tasks", "Authorization", "Bearer " + alice, 403, "scope-not-allowed"},
		{"no scopes", "scope=task:1", "Authorization", "Bearer " + token("--user", "bob"), 403, "scope-not-allowed"},
		{"no token", "scope=task:1", "", "", 401, "bad-credentials"},
		{"a proxy's word", "scope=task:1", "X-Forwarded-User", "alice", 401, "bad-credentials"},
		{"changed", "scope=task:1", "Authorization", "Bearer x" + alice, 401, "bad-credentials"},
		{"of another secret", "scope=task:1", "Authorization", "Bearer " + makeToken(t, append(secretFile(t, jwtSecret[1:]+"!"),
			"--user", "alice", "--scope", "*", "--jwt-issuer", "us", "--jwt-audience", "pgbell")...), 401, "bad-credentials"},
		{"of no issuer", "scope=task:1", "Authorization", "Bearer " + makeToken(t, append(key, "--user", "alice", "--scope", "*", "--jwt-audience", "pgbell")...), 401, "bad-credentials"},
		{"for another audience", "scope=task:1", "Authorization", "Bearer " + makeToken(t, append(key, "--user", "alice", "--scope", "*", "--jwt-issuer", "us", "--jwt-audience", "x")...), 401, "bad-credentials"},
	} {
		if code, problem := presence(t, server, test.query, test.header, test.value); code != test.code || problem != test.problem {
			t.Errorf("%s: got %d %s, want %d %s", test.name, code, problem, test.code, test.problem)
		}
	}

	p.waitLog(t, "the token has no claim scopes") // bob's; alice asked before
	if log, _, _ := strings.Cut(strings.Join(p.lines(), "\n"), "the token has no claim scopes"); !strings.Contains(log, "the token's scopes don't allow it") {
		t.Error("the log doesn't say that alice's token has scopes, but not that one")
	}

	s := openStream(t, http.DefaultClient, server+"/events?scope=task:1&scope=task:2", "Authorization", "Bearer "+alice)
	exec1(t, db, `insert into tasks values (1, 'bob'); insert into tasks values (2, 'alice')`)
	if event, data := s.next(); event != "task:2" {
		t.Errorf("the first event is %s %s, want alice's task", event, data)
	}
	begin := time.Now()
	ends := openStream(t, http.DefaultClient, server+"/events?scope=news", "Authorization", "Bearer "+token("--user", "alice", "--scope", "news", "--ttl", "4s"))
	for event, _ := ends.next(); event != ""; event, _ = ends.next() {
		if event != "close" {
			t.Errorf("got %s, want the end", event)
		}
	}
	if took := time.Since(begin); took < 3*time.Second || took > 30*time.Second { // a busy machine
		t.Errorf("a stream with a token for 4s ended after %v", took)
	}
	for _, line := range p.lines() {
		if strings.Contains(line, "eyJ") || strings.Contains(line, jwtSecret) {
			t.Errorf("logged: %s", line)
		}
	}
}

// writeKeyPair makes a key pair and returns the paths of its two PEM files.
func writeKeyPair(t *testing.T) (private, public string) {
	t.Helper()
	publicKey, privateKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, privateErr := x509.MarshalPKCS8PrivateKey(privateKey)
	publicDER, publicErr := x509.MarshalPKIXPublicKey(publicKey)
	dir := t.TempDir()
	private, public = filepath.Join(dir, "private.pem"), filepath.Join(dir, "public.pem")
	err = errors.Join(privateErr, publicErr,
		os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}), 0o600),
		os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

func TestServeStartsBeforeTheIssuer(t *testing.T) {
	up := make(chan struct{})
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-up:
			w.Write([]byte(`{"keys":[]}`))
		default:
			http.Error(w, "down", http.StatusBadGateway)
		}
	}))
	defer issuer.Close()
	p, server := beginServe(t, nowhere, "--auth", "jwt", "--jwt-jwks-url", issuer.URL)
	p.waitLog(t, "--jwt-audience") // tokens for others would be believed
	p.waitLog(t, "issuer's keys can't be fetched")
	token := makeToken(t, append(secretFile(t, jwtSecret), "--user", "alice")...)
	if code, problem := presence(t, server, "scope=a", "Authorization", "Bearer "+token); code != 503 || problem != "authentication-unavailable" {
		t.Errorf("got %d %s, want 503", code, problem)
	}
	close(up)
	deadline := time.Now().Add(10 * time.Minute)
	for code := 503; code != 401; {
		if code, _ = presence(t, server, "scope=a", "Authorization", "Bearer "+token); time.Now().After(deadline) {
			t.Fatalf("still %d", code)
		}
	}
	p.waitLog(t, "no key that can be used")
}

func TestTokenSignedByAPrivateKey(t *testing.T) {
	private, public := writeKeyPair(t)
	_, server := beginServe(t, nowhere, "--auth", "jwt", "--jwt-public-key-file", public)
	token := makeToken(t, "--user", "alice", "--scope", "a", "--jwt-private-key-file", private)
	if code, problem := presence(t, server, "scope=a", "Authorization", "Bearer "+token); code != 200 {
		t.Errorf("got %d %s, want 200", code, problem)
	}
	wantError(t, runOn(t, nowhere, "serve", "--auth", "jwt", "--jwt-public-key-file", private), 1, private, "private key")
	wantError(t, runEnv(t, nil, "token", "--user", "a", "--jwt-private-key-file", public), 1, public, "PRIVATE KEY")
}

func TestTokenAsJSON(t *testing.T) {
	var got map[string]any
	text := makeToken(t, append(secretFile(t, jwtSecret), "--user", "alice", "--scope", "a", "--scope", "b:*", "--group", "team:7", "--ttl", "90m", "--jwt-issuer", "us", "--json")...)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	expires, err := time.Parse(time.RFC3339, got["expires"].(string))
	if in := time.Until(expires); err != nil || in < 89*time.Minute || in > 91*time.Minute {
		t.Errorf("expires in %v, %v, want 90m", in, err)
	}
	scopes, ok := got["scopes"].([]any)
	groups, _ := got["groups"].([]any)
	if token, _ := got["token"].(string); len(groups) != 1 || strings.Count(token, ".") != 2 || got["user"] != "alice" || !ok || len(scopes) != 2 || got["issuer"] != "us" {
		t.Errorf("got %s", text)
	}
}

func TestBadKeyFilesFailWithOneLine(t *testing.T) {
	short, missing := secretFile(t, "hunter2"), []string{"--jwt-secret-file", "/no/such/file"}
	for _, r := range []result{runOn(t, nowhere, append([]string{"serve", "--auth", "jwt"}, short...)...), runEnv(t, nil, append([]string{"token", "--user", "a"}, short...)...)} {
		wantError(t, r, 1, short[1], "at least 32", "openssl rand -hex 32")
		if strings.Contains(r.stderr, "hunter2") {
			t.Errorf("the secret is told: %s", r.stderr)
		}
	}
	wantError(t, runOn(t, nowhere, append([]string{"serve", "--auth", "jwt"}, missing...)...), 1, "/no/such/file")
	wantError(t, runEnv(t, nil, append([]string{"token", "--user", "a"}, missing...)...), 1, "/no/such/file")
}
