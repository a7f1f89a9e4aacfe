package jwtauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
)

// issuer publishes keys over HTTP.
type issuer struct {
	*httptest.Server
	mu    sync.Mutex
	reply http.HandlerFunc
	hits  int
}

func newIssuer(t *testing.T, keys ...map[string]any) *issuer {
	i := &issuer{}
	i.publish(keys...)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.hits++
		reply := i.reply
		i.mu.Unlock()
		reply(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) answer(reply http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reply = reply
}

func (i *issuer) publish(keys ...map[string]any) {
	i.answer(func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(map[string]any{"keys": keys}) })
}

func (i *issuer) fail() {
	i.answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) })
}

func (i *issuer) fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hits
}

// published is a key of the tests as a JWK, with more members or others.
func published(name, kid string, more map[string]any) map[string]any {
	bytes := func(b []byte) string { return encode(string(b)) }
	m := map[string]any{"kid": kid}
	switch k := keys()[name].Public().(type) {
	case *rsa.PublicKey:
		maps.Copy(m, map[string]any{"kty": "RSA", "n": bytes(k.N.Bytes()), "e": bytes(big.NewInt(int64(k.E)).Bytes())})
	case *ecdsa.PublicKey:
		size := (k.Params().BitSize + 7) / 8
		raw, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		maps.Copy(m, map[string]any{"kty": "EC", "crv": k.Params().Name, "x": bytes(raw[1 : 1+size]), "y": bytes(raw[1+size:])})
	case ed25519.PublicKey:
		maps.Copy(m, map[string]any{"kty": "OKP", "crv": "Ed25519", "x": bytes(k)})
	}
	maps.Copy(m, more)
	return m
}

// by makes a good token by a key of the tests, under an id if it is not empty.
func by(name, kid, alg string) string {
	header := fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, kid)
	if kid == "" {
		header = fmt.Sprintf(`{"alg":%q}`, alg)
	}
	return craft(header, good(), alg, keys()[name])
}

// private is a key of the tests as a JWK that signs.
func private(name, kid string) map[string]any {
	d, err := keys()[name].(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		panic(err)
	}
	return published(name, kid, map[string]any{"d": encode(string(d))})
}

// bubble runs f with a faked time, and an issuer outside of it: a request to that is
// real, and the time stands still for as long as it takes.
func bubble(t *testing.T, f func(t *testing.T, i *issuer)) {
	i := newIssuer(t, published("RSA", "old", nil))
	keys() // the test's own time must not stand still, either
	synctest.Test(t, func(t *testing.T) { f(t, i) })
}
