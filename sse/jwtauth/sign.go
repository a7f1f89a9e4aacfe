package jwtauth

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
)

// Claims are what a token says.
type Claims struct {
	UserID   string
	Scopes   []string  // none leaves the claim out
	Groups   []string  // none leaves the claim out, which is called groups
	Expires  time.Time // in whole seconds
	Issuer   string    // "" leaves the claim out
	Audience string    // "" leaves the claim out
}

// Signer makes tokens, for tests and for an app that has no issuer. It is safe for
// concurrent use.
type Signer struct {
	alg jwa.SignatureAlgorithm
	key any
}

// SecretSigner returns a Signer by HS256. The secret is the text of the file, as it is but for
// one line end at its end: at least 32 bytes that nobody can guess, as of openssl rand -hex 32.
func SecretSigner(path string) (*Signer, error) {
	_, text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read secret file: %w", err)
	}
	k, err := secretKey(text)
	if err != nil {
		return nil, fmt.Errorf("secret file %s: %w", path, err)
	}
	return &Signer{alg: jwa.HS256(), key: k.key}, nil
}

// PrivateKeySigner returns a Signer by the private key of a PEM file, which is not
// encrypted: RS256 for an RSA key, ES256, ES384 or ES512 for an EC key, EdDSA for Ed25519.
func PrivateKeySigner(path string) (*Signer, error) {
	_, text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read private key file: %w", err)
	}
	s, err := privateSigner(text)
	if err != nil {
		return nil, fmt.Errorf("private key file %s: %w", path, err)
	}
	return s, nil
}

func privateSigner(text []byte) (*Signer, error) {
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "EC PARAMETERS" { // openssl ecparam -genkey puts it first
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("holds no PEM block: make one with: openssl genpkey -algorithm ed25519")
	}
	var private any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("holds a PEM block of type %q, not a PRIVATE KEY that is not encrypted", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("holds a key that can't sign (%T)", private)
	}
	algs, err := algorithms(signer.Public())
	if err != nil {
		return nil, err
	}
	s := &Signer{key: private, alg: jwa.RS256()}
	if _, ok := private.(*rsa.PrivateKey); !ok {
		for _, alg := range algs { // there is one
			s.alg = alg
		}
	}
	return s, nil
}

// Sign returns a token. It refuses what an AuthenticateFunc of this package would.
func (s *Signer) Sign(c Claims) (string, error) {
	now := time.Now()
	switch {
	case c.UserID == "":
		return "", errors.New("a token needs a user id")
	case !utf8.ValidString(c.UserID + strings.Join(c.Scopes, "") + strings.Join(c.Groups, "") + c.Issuer + c.Audience):
		return "", errors.New("a token is in UTF-8")
	case c.Expires.Unix() <= now.Unix():
		return "", errors.New("a token must expire, and not before it is used")
	}
	claims := map[string]any{"sub": c.UserID, "iat": now.Unix(), "exp": c.Expires.Unix()}
	if len(c.Scopes) > 0 {
		claims["scopes"] = c.Scopes
	}
	if len(c.Groups) > 0 {
		claims["groups"] = c.Groups
	}
	if c.Issuer != "" {
		claims["iss"] = c.Issuer
	}
	if c.Audience != "" {
		claims["aud"] = c.Audience
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	headers := jws.NewHeaders()
	if err := headers.Set(jws.TypeKey, "JWT"); err != nil {
		return "", fmt.Errorf("set typ: %w", err)
	}
	token, err := jws.Sign(payload, jws.WithKey(s.alg, s.key, jws.WithProtectedHeaders(headers)))
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	if len(token) > maxToken {
		return "", fmt.Errorf("the token would be %d bytes long, more than the %d that are read: name fewer scopes and groups", len(token), maxToken)
	}
	return string(token), nil
}
