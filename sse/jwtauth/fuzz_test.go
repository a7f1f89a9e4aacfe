package jwtauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// What was not signed by the key is nobody, whatever it looks like and wherever it is;
// what was signed is somebody only with a user and an end to come.
func FuzzAuthenticate(f *testing.F) {
	const good = `{"sub":"alice","exp":4102444800}` // the same in all processes that fuzz
	token := hs256(plain, good)
	part := strings.Split(token, ".")
	for _, header := range []string{
		plain, `{"alg":"none"}`, `{"alg":"HS256","crit":["b64"],"b64":false}`, `{"alg":"HS256","alg":"none"}`, `{"alg":"HS256","typ":"JWT","kid":"k"}`,
		`{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, "{", "null", "[]", "\xff",
	} {
		f.Add(header, good, "Bearer "+token, "", "")
	}
	for _, payload := range []string{
		`{"sub":"alice"}`, `{"sub":"alice","exp":1e11,"scopes":["a","b:*"],"aud":["pgbell"],"iss":"i","nbf":1,"iat":1.5}`, `{"exp":99999999999,"sub":""}`,
		`{"exp":99999999999,"sub":"a","sub":"b"}`, `{"sub":"\ud800","exp":99999999999}`, `{"sub":1,"exp":"1"}`, "null", "{}",
	} {
		f.Add(plain, payload, "", "pgbell_token="+token, "token="+token)
	}
	f.Add(plain, good, "Basic YTpi", `a=b; pgbell_token="`+part[0]+`"`, "token="+part[0]+".."+part[2]+"&token=%zz")
	f.Add(plain, good, `{"payload":"`+part[1]+`"}`, "pgbell_token", ";")
	auth := newAuth(f, Config{SecretFile: write(f, secret), QueryParam: true})

	f.Fuzz(func(t *testing.T, header, payload, authorization, cookie, query string) {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/events", RawQuery: query}, Header: http.Header{}}
		for name, value := range map[string]string{"Authorization": authorization, "Cookie": cookie} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		unescaped, err := url.QueryUnescape(query)
		if err != nil {
			unescaped = ""
		}
		if id, err := auth(r); err == nil && (id.UserID != "alice" || !strings.Contains(authorization+cookie+unescaped, part[2])) {
			t.Errorf("believed as %+v without a token that was signed", id)
		}

		id, err := ask(auth, hs256(header, payload))
		if err != nil {
			if id.UserID != "" || id.Scopes != nil || !id.Expires.IsZero() {
				t.Errorf("refused, and still %+v", id)
			}
			return
		}
		var h, p map[string]any
		if err := errors.Join(json.Unmarshal([]byte(header), &h), json.Unmarshal([]byte(payload), &p)); err != nil {
			t.Fatalf("believed what is no JSON: %v", err)
		}
		if h["alg"] != "HS256" || h["crit"] != nil || h["jwk"] != nil || id.UserID == "" || p["sub"] != id.UserID {
			t.Errorf("believed %s and %s as %+v", header, payload, id)
		}
		exp, _ := p["exp"].(float64)
		if off := exp - float64(id.Expires.UnixNano())/1e9; id.Expires.Year() < 2200 && (off < -0.001 || off > 0.001) {
			t.Errorf("%s ends at %v", payload, id.Expires)
		}
	})
}
