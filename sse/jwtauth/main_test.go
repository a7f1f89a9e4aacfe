package jwtauth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pgbell/pgbell/sse"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "f81d4fae7dec11d0a76500a0c91e6bf6 and more"

// keys are private keys by the name that the tests give them.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	all := map[string]crypto.Signer{}
	for name, bits := range map[string]int{"RSA": 2048, "RSA again": 2048, "RSA 1024": 1024} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		all[name] = k
	}
	for name, curve := range map[string]elliptic.Curve{"P-224": elliptic.P224(), "P-256": elliptic.P256(), "P-256 again": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		all[name] = k
	}
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	all["Ed25519"] = k
	return all
})

// sign signs by the standard library alone: what the tests believe is not what they test.
func sign(alg string, private any, text string) []byte {
	if alg == "none" {
		return nil
	}
	if alg == "EdDSA" {
		return ed25519.Sign(private.(ed25519.PrivateKey), []byte(text))
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	if alg[:2] == "HS" {
		mac := hmac.New(hash.New, private.([]byte))
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	h := hash.New()
	h.Write([]byte(text))
	var signature []byte
	var err error
	switch alg[:2] {
	case "RS":
		signature, err = rsa.SignPKCS1v15(rand.Reader, private.(*rsa.PrivateKey), hash, h.Sum(nil))
	case "PS":
		signature, err = rsa.SignPSS(rand.Reader, private.(*rsa.PrivateKey), hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "ES":
		k := private.(*ecdsa.PrivateKey)
		r, s, signErr := ecdsa.Sign(rand.Reader, k, h.Sum(nil))
		size := (k.Params().BitSize + 7) / 8
		signature, err = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), signErr
	}
	if err != nil {
		panic(err)
	}
	return signature
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// craft makes a token of any header and payload.
func craft(header, payload, alg string, private any) string {
	text := encode(header) + "." + encode(payload)
	return text + "." + encode(string(sign(alg, private, text)))
}

// good is a payload that is.
func good() string { return fmt.Sprintf(`{"sub":"alice","exp":%d}`, time.Now().Add(time.Hour).Unix()) }

// hs256 makes a token by the secret that is good but for its header and payload.
func hs256(header, payload string) string { return craft(header, payload, "HS256", []byte(secret)) }

const plain = `{"alg":"HS256"}`

// write writes a file and returns its path.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pemOf(kind string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// publicPEM is the text of the public key file of a key of the tests.
func publicPEM(name string) string {
	der, err := x509.MarshalPKIXPublicKey(keys()[name].Public())
	return pemOf("PUBLIC KEY", der, err)
}

func privatePEM(name string) string {
	der, err := x509.MarshalPKCS8PrivateKey(keys()[name])
	return pemOf("PRIVATE KEY", der, err)
}

// log is a log that can be read.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *log) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newAuth(t testing.TB, cfg Config) sse.AuthenticateFunc {
	t.Helper()
	auth, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// bySecret believes the secret.
func bySecret(t testing.TB) sse.AuthenticateFunc {
	t.Helper()
	return newAuth(t, Config{SecretFile: write(t, secret)})
}

// ask asks with a token in the header.
func ask(auth sse.AuthenticateFunc, token string) (sse.Identity, error) {
	r := httptest.NewRequest(http.MethodGet, "/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return auth(r)
}

// wantRefused checks that err is there, says why, and nothing of the token.
func wantRefused(t *testing.T, id sse.Identity, err error, token, why string) {
	t.Helper()
	if err == nil {
		t.Fatalf("believed as %+v, want it refused", id)
	}
	if !strings.Contains(err.Error(), why) {
		t.Errorf("refused as %q, want %q", err, why)
	}
	if id.UserID != "" || id.Scopes != nil {
		t.Errorf("refused, and still %+v", id)
	}
	for part := range strings.FieldsFuncSeq(token, func(r rune) bool { return strings.ContainsRune(".\r\n\" {}", r) }) {
		if len(part) > 10 && strings.Contains(err.Error(), part) {
			t.Errorf("the error has a part of the token: %q", err)
		}
	}
}
