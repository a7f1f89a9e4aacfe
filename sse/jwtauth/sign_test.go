package jwtauth

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/sse"
)

func TestSignedTokenIsBelieved(t *testing.T) {
	claims := Claims{
		UserID: "älice <&>", Scopes: []string{"project:7", "task:*"}, Groups: []string{"team:7", "<admin>"},
		Expires: time.Now().Add(time.Hour).Truncate(time.Second), Issuer: "https://issuer.example", Audience: "pgbell",
	}
	want := sse.Identity{UserID: claims.UserID, Scopes: claims.Scopes, Groups: claims.Groups, Expires: claims.Expires}
	sec1, err := x509.MarshalECPrivateKey(keys()["P-256"].(*ecdsa.PrivateKey))
	sec1PEM := pemOf("EC PRIVATE KEY", sec1, err)
	for _, test := range []struct{ name, private, public string }{
		{"secret", secret, secret},
		{"secret with a line end", secret + "\n", secret},
		{"RSA", privatePEM("RSA"), publicPEM("RSA")},
		{"RSA in PKCS 1", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(keys()["RSA"].(*rsa.PrivateKey)), nil), publicPEM("RSA")},
		{"P-256", privatePEM("P-256"), publicPEM("P-256")},
		{"P-256 in SEC 1", sec1PEM, publicPEM("P-256")},
		{"P-256 after its parameters", pemOf("EC PARAMETERS", []byte("x"), nil) + sec1PEM, publicPEM("P-256")},
		{"P-384", privatePEM("P-384"), publicPEM("P-384")},
		{"P-521", privatePEM("P-521"), publicPEM("P-521")},
		{"Ed25519", privatePEM("Ed25519"), publicPEM("Ed25519")},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Config{Issuer: claims.Issuer, Audience: claims.Audience}
			newSigner := PrivateKeySigner
			if strings.HasPrefix(test.name, "secret") {
				newSigner, cfg.SecretFile = SecretSigner, write(t, test.public)
			} else {
				cfg.PublicKeyFile = write(t, test.public)
			}
			s, err := newSigner(write(t, test.private))
			if err != nil {
				t.Fatal(err)
			}
			token, err := s.Sign(claims)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ask(newAuth(t, cfg), token)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v, %s", err, diff)
			}
		})
	}
}

func TestKeyThatCannotSignIsRefused(t *testing.T) {
	for _, test := range []struct {
		name, text, why string
		open            func(string) (*Signer, error)
	}{
		{"empty secret", "", "make one with", SecretSigner},
		{"short secret", "hunter2", "make one with", SecretSigner},
		{"PEM as a secret", privatePEM("RSA"), "PEM", SecretSigner},
		{"no PEM", secret, "make one with", PrivateKeySigner},
		{"public key", publicPEM("RSA"), "PUBLIC KEY", PrivateKeySigner},
		{"encrypted", pemOf("ENCRYPTED PRIVATE KEY", []byte("x"), nil), "not encrypted", PrivateKeySigner},
		{"garbage", pemOf("PRIVATE KEY", []byte("x"), nil), "can't be read", PrivateKeySigner},
		{"parameters alone", pemOf("EC PARAMETERS", []byte("x"), nil), "no PEM block", PrivateKeySigner},
		{"short RSA", privatePEM("RSA 1024"), "1024 bits", PrivateKeySigner},
		{"P-224", privatePEM("P-224"), "P-224", PrivateKeySigner},
	} {
		path := write(t, test.text)
		_, err := test.open(path)
		if err == nil || !strings.Contains(err.Error(), test.why) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want an error with %q and the path", test.name, err, test.why)
		}
		if _, err := test.open("/no/such/file"); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
			t.Errorf("no file: got %v", err)
		}
	}
}

func TestTokenThatWouldBeRefusedIsNotMade(t *testing.T) {
	s, err := SecretSigner(write(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	for name, claims := range map[string]Claims{
		"no user":         {Expires: later},
		"no end":          {UserID: "alice"},
		"expired":         {UserID: "alice", Expires: time.Now()},
		"user in Latin 1": {UserID: "\xe4lice", Expires: later},
		"scope of bytes":  {UserID: "alice", Expires: later, Scopes: []string{"\xe4"}},
		"group of bytes":  {UserID: "alice", Expires: later, Groups: []string{"\xe4"}},
		"too many groups": {UserID: "alice", Expires: later, Groups: []string{strings.Repeat("x", 7000)}},
		"too many scopes": {UserID: "alice", Expires: later, Scopes: []string{strings.Repeat("x", 7000)}},
	} {
		if token, err := s.Sign(claims); err == nil {
			t.Errorf("%s: got one of %d bytes", name, len(token))
		}
	}
}
