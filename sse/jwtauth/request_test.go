package jwtauth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// tokenOf makes a good token for a user.
func tokenOf(user string) string {
	return hs256(plain, fmt.Sprintf(`{"sub":%q,"exp":%d}`, user, time.Now().Add(time.Hour).Unix()))
}

func TestTokenIsReadFromOnePlace(t *testing.T) {
	h, c, q, bad := tokenOf("header"), tokenOf("cookie"), tokenOf("query"), craft(plain, good(), "HS256", []byte("another"))
	type header = map[string][]string
	authorization := func(values ...string) header { return header{"Authorization": values} }
	cookie := func(values ...string) header { return header{"Cookie": values} }
	both := header{"Authorization": {"Bearer " + h}, "Cookie": {"pgbell_token=" + c}}
	for _, test := range []struct {
		name       string
		header     header
		query      string
		queryParam bool
		want, why  string
	}{
		{"nowhere", nil, "", true, "", "no token"},
		{"header", authorization("Bearer " + h), "", false, "header", ""},
		{"header in another case", authorization("bEaReR " + h), "", false, "header", ""},
		{"cookie", cookie("pgbell_token=" + c), "", false, "cookie", ""},
		{"cookie among others", cookie("a=b; pgbell_token=" + c + "; x_pgbell_token=y"), "", false, "cookie", ""},
		{"cookie in a second header", cookie("a=b", "pgbell_token="+c), "", false, "cookie", ""},
		{"query", nil, "scope=a&token=" + q, true, "query", ""},
		{"query without leave", nil, "scope=a&token=" + q, false, "", "no token"},
		{"header before cookie and query", both, "token=" + q, true, "header", ""},
		{"cookie before query", cookie("pgbell_token=" + c), "token=" + q, true, "cookie", ""},

		{"two headers", authorization("Bearer "+h, "Bearer "+h), "", false, "", "twice"},
		{"two headers, one empty", authorization("Bearer "+h, ""), "", false, "", "twice"},
		{"two tokens", authorization("Bearer " + h + ", Bearer " + h), "", false, "", "three parts"},
		{"two spaces", authorization("Bearer  " + h), "", false, "", "base64url"},
		{"no scheme", authorization(h), "", false, "", "not Bearer"},
		{"another scheme", authorization("Basic " + h), "", false, "", "not Bearer"},
		{"scheme alone", authorization("Bearer"), "", false, "", "not Bearer"},
		{"scheme and a space", authorization("Bearer "), "", false, "", "not Bearer"},
		{"empty header", authorization(""), "", false, "", "empty"},
		{"quoted", cookie(`pgbell_token="` + c + `"`), "", false, "", "base64url"},
		{"two cookies", cookie("pgbell_token=" + c + "; pgbell_token=" + c), "", false, "", "twice"},
		{"two cookies in two headers", cookie("pgbell_token="+c, "pgbell_token="+bad), "", false, "", "twice"},
		{"empty cookie", cookie("pgbell_token="), "", false, "", "empty"},
		{"cookie without =", cookie("pgbell_token"), "", false, "", "empty"},
		{"two in the query", nil, "token=" + q + "&token=" + q, true, "", "twice"},
		{"empty in the query", nil, "token=", true, "", "empty"},
		{"query with a bad escape", nil, "token=" + q + "&scope=%zz", true, "", "can't be read"},
		{"query with a semicolon", nil, "scope=a;token=" + q, true, "", "can't be read"},

		// What is bad in one place must not let the next one answer.
		{"bad header, good cookie", header{"Authorization": {"Bearer " + bad}, "Cookie": {"pgbell_token=" + c}}, "token=" + q, true, "", "signature"},
		{"other scheme, good cookie", header{"Authorization": {"Basic YTpi"}, "Cookie": {"pgbell_token=" + c}}, "", false, "", "not Bearer"},
		{"empty header, good cookie", header{"Authorization": {""}, "Cookie": {"pgbell_token=" + c}}, "", false, "", "empty"},
		{"bad cookie, good query", cookie("pgbell_token=" + bad), "token=" + q, true, "", "signature"},
		{"empty cookie, good query", cookie("pgbell_token="), "token=" + q, true, "", "empty"},
		{"cookie no library would read, good query", cookie("pgbell_token=a\x01b"), "token=" + q, true, "", "three parts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			auth := newAuth(t, Config{SecretFile: write(t, secret), QueryParam: test.queryParam})
			r := httptest.NewRequest(http.MethodGet, "/events?"+test.query, nil)
			r.Header = test.header
			id, err := auth(r)
			if test.why != "" {
				wantRefused(t, id, err, h+" "+c+" "+q+" "+bad, test.why)
			} else if err != nil || id.UserID != test.want {
				t.Errorf("got %+v, %v, want the one of the %s", id, err, test.want)
			}
		})
	}
}

func TestCookieCanHaveAnotherName(t *testing.T) {
	auth := newAuth(t, Config{SecretFile: write(t, secret), Cookie: "session"})
	r := httptest.NewRequest(http.MethodGet, "/events", nil)
	r.Header.Set("Cookie", "pgbell_token="+tokenOf("alice"))
	if id, err := auth(r); err == nil {
		t.Errorf("got %+v by the cookie of the other name", id)
	}
	r.Header.Set("Cookie", "session="+tokenOf("alice"))
	if id, err := auth(r); err != nil || id.UserID != "alice" {
		t.Errorf("got %+v, %v, want alice", id, err)
	}
}

func TestNeedsOneSourceOfKeys(t *testing.T) {
	path := write(t, secret)
	for _, cfg := range []Config{
		{},
		{Issuer: "i"},
		{SecretFile: path, PublicKeyFile: path},
		{SecretFile: path, JWKSURL: "https://issuer.example/"},
		{SecretFile: path, PublicKeyFile: path, JWKSURL: "https://issuer.example/"},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "one source") {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
}
