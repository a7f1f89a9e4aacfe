package sse

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestHeaderIsBelievedOnlyFromTrustedAddresses(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128")}
	auth := HeaderAuth("x-forwarded-user", trusted)
	for _, test := range []struct {
		name, remote string
		values       []string
		want         string
		refused      bool
	}{
		{"trusted", "10.1.2.3:5", []string{"alice"}, "alice", false},
		{"v4 as v6", "[::ffff:10.1.2.3]:5", []string{"alice"}, "alice", false},
		{"v6", "[::1]:5", []string{"alice"}, "alice", false},
		{"v6 with a zone", "[fe80::1%eth0]:5", []string{"alice"}, "alice", false},
		{"another address", "10.2.0.1:5", []string{"alice"}, "", false},
		{"another address, twice", "10.2.0.1:5", []string{"alice", "bob"}, "", false},
		{"no address", "@", []string{"alice"}, "", false},
		{"none", "10.1.2.3:5", nil, "", false},
		{"empty", "10.1.2.3:5", []string{""}, "", false},
		{"twice", "10.1.2.3:5", []string{"alice", "bob"}, "", true},
		{"twice the same", "10.1.2.3:5", []string{"alice", "alice"}, "", true},
		{"longest", "10.1.2.3:5", []string{strings.Repeat("x", 1024)}, strings.Repeat("x", 1024), false},
		{"too long", "10.1.2.3:5", []string{strings.Repeat("x", 1025)}, "", true},
		{"control character", "10.1.2.3:5", []string{"al\tice"}, "", true},
		{"not UTF-8", "10.1.2.3:5", []string{"al\xffice"}, "", true},
	} {
		r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-User": test.values}}
		id, err := auth(r)
		if err == nil {
			err = id.check(time.Now())
		}
		if (err != nil) != test.refused || !test.refused && id.UserID != test.want {
			t.Errorf("%s: got %.20q, %v, want %.20q, refused %v", test.name, id.UserID, err, test.want, test.refused)
		}
	}
}
