package jwtauth

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// fits are the algorithms that each key may be used with, and no other.
var fits = map[string][]string{
	"secret":  {"HS256"},
	"RSA":     {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
	"P-256":   {"ES256"},
	"P-384":   {"ES384"},
	"P-521":   {"ES512"},
	"Ed25519": {"EdDSA"},
}

var everyAlg = []string{
	"none", "None", "", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ES256", "ES256K", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448", "RSA-OAEP", "dir", "A128KW",
}

func TestKeyDecidesOnTheAlgorithm(t *testing.T) {
	for name, algs := range fits {
		cfg, signsBy := Config{}, any([]byte(secret))
		if name == "secret" {
			cfg.SecretFile = write(t, secret)
		} else {
			cfg.PublicKeyFile, signsBy = write(t, publicPEM(name)), keys()[name]
		}
		auth := newAuth(t, cfg)
		for _, alg := range everyAlg {
			if slices.Contains(algs, alg) {
				if id, err := ask(auth, craft(`{"alg":"`+alg+`"}`, good(), alg, signsBy)); err != nil || id.UserID != "alice" {
					t.Errorf("%s by %s: got %+v, %v, want alice", alg, name, id, err)
				}
				continue
			}
			// Signed in the way that the key is good for.
			token := craft(`{"alg":"`+alg+`"}`, good(), algs[0], signsBy)
			if id, err := ask(auth, token); err == nil || !strings.Contains(err.Error(), "alg") {
				t.Errorf("%s by %s: got %+v, %v, want it refused for its alg", alg, name, id, err)
			}
		}
	}
}

// The library would verify ES256 by any curve, which RFC 7518 section 3.4 does not allow.
func TestAlgorithmOfAnotherCurveIsRefused(t *testing.T) {
	for _, curve := range []string{"P-256", "P-384", "P-521"} {
		auth := newAuth(t, Config{PublicKeyFile: write(t, publicPEM(curve))})
		for _, alg := range []string{"ES256", "ES384", "ES512"} {
			id, err := ask(auth, craft(`{"alg":"`+alg+`"}`, good(), alg, keys()[curve]))
			if want := fits[curve][0] == alg; (err == nil) != want {
				t.Errorf("%s signed by %s: got %+v, %v", alg, curve, id, err)
			}
		}
	}
}

// The attack that gave key confusion its name: the public key, which everyone has, as
// the secret of HS256.
func TestPublicKeyIsNoSecret(t *testing.T) {
	for _, name := range []string{"RSA", "P-256", "P-384", "P-521", "Ed25519"} {
		text := publicPEM(name)
		auth := newAuth(t, Config{PublicKeyFile: write(t, text)})
		der, _ := pem.Decode([]byte(text))
		for what, guess := range map[string][]byte{"PEM": []byte(text), "PEM without its line end": []byte(strings.TrimSpace(text)), "DER": der.Bytes} {
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				token := craft(`{"alg":"`+alg+`"}`, good(), alg, guess)
				id, err := ask(auth, token)
				if err == nil || !strings.Contains(err.Error(), "alg") {
					t.Errorf("%s by the %s of the key %s: got %+v, %v", alg, what, name, id, err)
				}
			}
		}
	}
}

func TestSignatureOfNothingIsRefused(t *testing.T) {
	zero := func(size int) string { return encode(string(make([]byte, size))) }
	for name, size := range map[string]int{"P-256": 64, "P-384": 96, "P-521": 132, "Ed25519": 64, "RSA": 256} {
		auth := newAuth(t, Config{PublicKeyFile: write(t, publicPEM(name))})
		text := encode(`{"alg":"`+fits[name][0]+`"}`) + "." + encode(good()) + "."
		for _, signature := range []string{zero(size), zero(1), zero(size + 1)} {
			if id, err := ask(auth, text+signature); err == nil {
				t.Errorf("%s: got %+v for a signature of %d zeros", name, id, len(signature))
			}
		}
	}
}

func TestOtherKeysOfTheSameTypeAreNotTheKey(t *testing.T) {
	for _, name := range []string{"RSA", "P-256"} {
		auth := newAuth(t, Config{PublicKeyFile: write(t, publicPEM(name))})
		alg := fits[name][0]
		token := craft(`{"alg":"`+alg+`"}`, good(), alg, keys()[name+" again"])
		id, err := ask(auth, token)
		wantRefused(t, id, err, token, "signature")
	}
}

func TestPublicKeyFileHasOneGoodKey(t *testing.T) {
	rsaKey := keys()["RSA"].(*rsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(keys()["P-256"].(*ecdsa.PrivateKey))
	sec1PEM := pemOf("EC PRIVATE KEY", sec1, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(-time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, rsaKey.Public(), rsaKey)
	certPEM := pemOf("CERTIFICATE", cert, err)
	for _, test := range []struct{ name, text, why string }{
		{"PKIX", publicPEM("RSA"), ""},
		{"PKCS 1", pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), nil), ""},
		{"certificate", certPEM, ""},
		{"with text before", "Key of ours:\n" + publicPEM("RSA"), ""},
		{"empty", "", "PUBLIC KEY"},
		{"no PEM", secret, "PUBLIC KEY"},
		{"private", privatePEM("RSA"), "private key"},
		{"private, PKCS 1", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), "private key"},
		{"private, SEC 1", sec1PEM, "private key"},
		{"private, encrypted", pemOf("ENCRYPTED PRIVATE KEY", []byte("x"), nil), "private key"},
		{"two", publicPEM("RSA") + publicPEM("RSA again"), "more than one"},
		{"public, then private", publicPEM("RSA") + privatePEM("RSA"), "more than one"},
		{"RSA of 1024 bits", publicPEM("RSA 1024"), "1024 bits is too short"},
		{"P-224", publicPEM("P-224"), "P-224"},
		{"request", pemOf("CERTIFICATE REQUEST", []byte("x"), nil), "CERTIFICATE REQUEST"},
		{"garbage", pemOf("PUBLIC KEY", []byte("garbage"), nil), "can't be read"},
		{"long", strings.Repeat("x", 65<<10), "64 kB"},
	} {
		path := write(t, test.text)
		auth, err := New(Config{PublicKeyFile: path})
		if test.why != "" {
			if err == nil || !strings.Contains(err.Error(), test.why) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: got %v, want an error with %q and the path", test.name, err, test.why)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if id, err := ask(auth, craft(`{"alg":"RS256"}`, good(), "RS256", rsaKey)); err != nil || id.UserID != "alice" {
			t.Errorf("%s: got %+v, %v, want alice", test.name, id, err)
		}
	}
}

func TestSecretFileHasASecret(t *testing.T) {
	long := strings.Repeat("x", 32)
	for _, test := range []struct{ name, text, secret, why string }{
		{"as it is", long, long, ""},
		{"with a line end", long + "\n", long, ""},
		{"with a line end of Windows", long + "\r\n", long, ""},
		{"with two line ends", long + "\n\n", long + "\n", ""},
		{"with spaces", " " + long + " \n", " " + long + " ", ""},
		{"of bytes", long + "\x00\xff\n", long + "\x00\xff", ""},
		{"empty", "", "", "is empty: make one with: openssl rand"},
		{"a line end", "\n", "", "is empty: make one with: openssl rand"},
		{"short", long[1:] + "\n", "", "holds 31 bytes, at least 32 are needed: make one with: openssl rand"},
		{"public key", publicPEM("RSA"), "", "PEM"},
		{"private key", privatePEM("RSA"), "", "PEM"},
		{"long", strings.Repeat("x", 65<<10), "", "64 kB"},
	} {
		path := write(t, test.text)
		auth, err := New(Config{SecretFile: path})
		if test.why != "" {
			if err == nil || !strings.Contains(err.Error(), test.why) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: got %v, want an error with %q and the path", test.name, err, test.why)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if id, err := ask(auth, craft(plain, good(), "HS256", []byte(test.secret))); err != nil || id.UserID != "alice" {
			t.Errorf("%s: got %+v, %v, want alice", test.name, id, err)
		}
	}
	if _, err := New(Config{SecretFile: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("a directory: got %v", err)
	}
	if _, err := New(Config{SecretFile: "/no/such/file"}); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("no file: got %v", err)
	}
}
