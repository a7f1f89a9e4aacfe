package jwtauth

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/sse"
)

// The bubble's time stands still, so that a second more or less can be told.
func TestClaimsAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		in := func(seconds int64) string { return fmt.Sprint(now + seconds) }
		good := `"sub":"alice","exp":` + in(3600)
		for _, test := range []struct{ name, payload, why string }{
			{"good", good, ""},
			{"no exp", `"sub":"alice"`, "no exp: a stream must end"},
			{"exp is null", `"sub":"alice","exp":null`, "exp is not a number"},
			{"exp is text", `"sub":"alice","exp":"` + in(60) + `"`, "exp is not a number"},
			{"exp is a list", `"sub":"alice","exp":[` + in(60) + `]`, "exp is not a number"},
			{"exp in milliseconds", `"sub":"alice","exp":` + in(60) + "000", "in seconds"},
			{"exp beyond all numbers", `"sub":"alice","exp":1e999`, "in seconds"},
			{"exp before 1970", `"sub":"alice","exp":-1`, "in seconds"},
			{"expired this moment", `"sub":"alice","exp":` + in(0), "expired"},
			{"expired a second ago", `"sub":"alice","exp":` + in(-1), "expired"},
			{"expires in a moment", `"sub":"alice","exp":` + in(0) + ".5", ""},
			{"expires in a second", `"sub":"alice","exp":` + in(1), ""},
			{"exp in another spelling", `"sub":"alice","exp":1e11`, ""},
			{"exp in another case", `"sub":"alice","EXP":` + in(60), "no exp"},
			{"exp twice", good + `,"exp":` + in(7200), "twice"},
			{"not before, in time", good + `,"nbf":` + in(0), ""},
			{"not before, within the leeway", good + `,"nbf":` + in(10), ""},
			{"not before", good + `,"nbf":` + in(11), "nbf is in the future"},
			{"not before null", good + `,"nbf":null`, "nbf is not a number"},
			{"issued within the leeway", good + `,"iat":` + in(10), ""},
			{"issued in the future", good + `,"iat":` + in(11), "iat is in the future"},
			{"issued sometime", good + `,"iat":"today"`, "iat is not a number"},
			{"no sub", `"exp":` + in(60), "sub"},
			{"sub is empty", `"sub":"","exp":` + in(60), "sub"},
			{"sub is a number", `"sub":42,"exp":` + in(60), "sub"},
			{"sub is null", `"sub":null,"exp":` + in(60), "sub"},
			{"sub is half a character", `"sub":"\ud800","exp":` + in(60), "sub"},
			{"sub twice", good + `,"sub":"bob"`, "twice"},
			{"sub twice, once by an escape", good + `,"s\u0075b":"bob"`, "twice"},
			{"sub in another case as well", good + `,"Sub":"bob","SUB":"carol"`, ""},
			{"scopes", good + `,"scopes":["a","b:*"]`, ""},
			{"no scopes", good + `,"scopes":[]`, ""},
			{"scopes is text", good + `,"scopes":"a b"`, "scopes"},
			{"scopes is null", good + `,"scopes":null`, "scopes"},
			{"scopes is an object", good + `,"scopes":{"a":true}`, "scopes"},
			{"scopes has a number", good + `,"scopes":["a",1]`, "scopes"},
			{"scopes has null", good + `,"scopes":["a",null]`, "scopes"},
			{"scopes has a list", good + `,"scopes":[["*"]]`, "scopes"},
			{"groups", good + `,"groups":["team:7","b"]`, ""},
			{"groups is text", good + `,"groups":"team:7"`, "groups is not a list of strings"},
			{"groups is null", good + `,"groups":null`, "groups is not a list of strings"},
			{"groups is an object", good + `,"groups":{"team:7":true}`, "groups is not a list of strings"},
			{"groups has a number", good + `,"groups":["team:7",7]`, "groups is not a list of strings"},
			{"groups has null", good + `,"groups":[null]`, "groups is not a list of strings"},
			{"half a character in groups", good + `,"groups":["team:\ud800"]`, "groups has half a character"},
			{"groups twice", good + `,"groups":["team:7"],"groups":["team:8"]`, "twice"},
			{"scopes twice", good + `,"scopes":["a"],"scopes":["*"]`, "twice"},
		} {
			token := hs256(plain, "{"+test.payload+"}")
			id, err := ask(bySecret(t), token)
			switch {
			case test.why != "":
				if err == nil || !strings.Contains(err.Error(), test.why) || strings.Contains(err.Error(), "alice") {
					t.Errorf("%s: got %+v, %v, want it refused: %s", test.name, id, err, test.why)
				}
			case err != nil || id.UserID != "alice" || !id.Expires.After(time.Now()):
				t.Errorf("%s: got %+v, %v, want alice", test.name, id, err)
			}
		}
	})
}

func TestClaimsBecomeTheIdentity(t *testing.T) {
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	payload := fmt.Sprintf(`{"sub":"älice","exp":%d.25,"scopes":["project:7","task:*"]}`, exp.Unix())
	got, err := ask(bySecret(t), hs256(plain, payload))
	want := sse.Identity{UserID: "älice", Expires: exp.Add(time.Second / 4), Scopes: []string{"project:7", "task:*"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
}

func TestGroupsAreTheClaimThatIsConfigured(t *testing.T) {
	token := hs256(plain, fmt.Sprintf(`{"sub":"alice","exp":%d,"groups":["team:7"],"roles":["admin","team:8"],"Groups":["x"]}`, time.Now().Add(time.Hour).Unix()))
	odd := hs256(plain, fmt.Sprintf(`{"sub":"alice","exp":%d,"groups":"team:7"}`, time.Now().Add(time.Hour).Unix()))
	for _, test := range []struct {
		cfg   Config
		token string
		want  []string
	}{
		{Config{}, token, []string{"team:7"}},
		{Config{GroupsClaim: "groups"}, token, []string{"team:7"}},
		{Config{GroupsClaim: "roles"}, token, []string{"admin", "team:8"}},
		{Config{GroupsClaim: "none"}, token, nil},
		{Config{GroupsClaim: "roles"}, odd, nil},
		{Config{NoGroups: true}, token, nil},
		{Config{NoGroups: true}, odd, nil},
	} {
		test.cfg.SecretFile = write(t, secret)
		id, err := ask(newAuth(t, test.cfg), test.token)
		if diff := cmp.Diff(test.want, id.Groups); err != nil || id.UserID != "alice" || diff != "" {
			t.Errorf("claim %q: %v, %+v: %s", test.cfg.GroupsClaim, err, id, diff)
		}
	}
	if id, err := ask(newAuth(t, Config{SecretFile: write(t, secret), GroupsClaim: "sub"}), token); err == nil || !strings.Contains(err.Error(), "sub is not a list") {
		t.Errorf("a claim of another shape: got %+v, %v", id, err)
	}
}

func TestIssuerAndAudienceAreCheckedWhenConfigured(t *testing.T) {
	exp := time.Now().Add(time.Hour).Unix()
	for _, test := range []struct {
		claims, issuer, audience string
		want                     bool
	}{
		{``, "", "", true},
		{`,"iss":"i","aud":"a"`, "", "", true},
		{`,"iss":"i"`, "i", "", true},
		{``, "i", "", false},
		{`,"iss":"I"`, "i", "", false},
		{`,"iss":"i/"`, "i", "", false},
		{`,"iss":["i"]`, "i", "", false},
		{`,"iss":null`, "i", "", false},
		{`,"iss":"evil","iss":"i"`, "i", "", false},
		{`,"aud":"a"`, "", "a", true},
		{`,"aud":["b","a"]`, "", "a", true},
		{``, "", "a", false},
		{`,"aud":"b"`, "", "a", false},
		{`,"aud":"ab"`, "", "a", false},
		{`,"aud":[]`, "", "a", false},
		{`,"aud":["b"]`, "", "a", false},
		{`,"aud":["a",1]`, "", "a", false},
		{`,"aud":{"a":1}`, "", "a", false},
		{`,"aud":null`, "", "a", false},
		{`,"iss":"i","aud":"a"`, "i", "a", true},
		{`,"iss":"a","aud":"i"`, "i", "a", false},
	} {
		auth := newAuth(t, Config{SecretFile: write(t, secret), Issuer: test.issuer, Audience: test.audience})
		id, err := ask(auth, hs256(plain, fmt.Sprintf(`{"sub":"alice","exp":%d%s}`, exp, test.claims)))
		if (err == nil) != test.want {
			t.Errorf("%s for issuer %q, audience %q: got %+v, %v", test.claims, test.issuer, test.audience, id, err)
		}
	}
}
