package jwtauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/pgbell/pgbell/sse"
)

// Config says which tokens to believe. Exactly one of the three sources of keys is
// needed.
type Config struct {
	SecretFile    string // a file with the secret that HS256 tokens are signed with, see [SecretSigner]
	PublicKeyFile string // a PEM file: a public key or a certificate, whose dates are not looked at
	JWKSURL       string // where the issuer publishes its keys; https, or http to this machine

	// Tokens without these are refused. Whoever else trusts the same key can pass
	// its tokens off as meant for us, unless Audience is set.
	Issuer   string // "" believes any
	Audience string // "" believes any

	GroupsClaim string // the claim that lists the user's groups; "" means groups
	NoGroups    bool   // don't look at it: something else says who is in which group

	Cookie     string // its name; "" means pgbell_token
	QueryParam bool   // also read the parameter "token"; an address is logged and kept by many

	Logger *slog.Logger // of trouble with the keys; nil discards
}

// source knows the keys that tokens are signed with. It is safe for concurrent use.
type source interface {
	// find returns the keys that may have made a signature with this algorithm,
	// under this id if it is not empty. Without any it returns an error.
	find(ctx context.Context, id, alg string) ([]key, error)
}

type authenticator struct {
	keys source
	cfg  Config
}

// New returns an AuthenticateFunc for the tokens that cfg describes. It reads the
// key's file, and reads it again when it has changed, at most once a second; while
// what it finds then is no key, the old one counts. The keys of a JWKSURL are fetched
// in the background from now on, and once more when they are older than five minutes or a
// token names an unknown one, at most once in five seconds; while that fails, those of last
// time count. A request that can't be decided for that reason gets [sse.ErrUnavailable].
func New(cfg Config) (sse.AuthenticateFunc, error) {
	if cfg.Cookie == "" {
		cfg.Cookie = "pgbell_token"
	}
	if cfg.GroupsClaim == "" {
		cfg.GroupsClaim = "groups"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	keys, err := newSource(cfg)
	if err != nil {
		return nil, err
	}
	a := &authenticator{keys: keys, cfg: cfg}
	return a.authenticate, nil
}

func newSource(cfg Config) (source, error) {
	given := 0
	for _, s := range []string{cfg.SecretFile, cfg.PublicKeyFile, cfg.JWKSURL} {
		if s != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, errors.New("needs one source of keys: a secret file, a public key file or the URL of a JWKS")
	case cfg.SecretFile != "":
		return openKeyFile(cfg.SecretFile, "secret file", secretKey, cfg.Logger)
	case cfg.PublicKeyFile != "":
		return openKeyFile(cfg.PublicKeyFile, "public key file", publicKey, cfg.Logger)
	}
	set, err := newKeySet(cfg.JWKSURL, cfg.Logger)
	if err != nil {
		return nil, err
	}
	set.prefetch()
	return set, nil
}

// authenticate is the AuthenticateFunc.
func (a *authenticator) authenticate(r *http.Request) (sse.Identity, error) {
	token, err := a.readToken(r)
	if err != nil {
		return sse.Identity{}, err
	}
	h, err := readHeader(token)
	if err != nil {
		return sse.Identity{}, err
	}
	keys, err := a.keys.find(r.Context(), h.kid, h.alg)
	if err != nil {
		return sse.Identity{}, err
	}
	for _, k := range keys {
		payload, err := jws.Verify([]byte(token), jws.WithCompact(), jws.WithKey(k.algs[h.alg], k.key))
		if err == nil {
			return a.readClaims(payload, time.Now())
		}
	}
	// Not the library's error, which may quote what it can't read.
	return sse.Identity{}, errors.New("the token's signature is not by the key")
}
