package jwtauth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwa"
)

const (
	minSecret  = 32   // bytes, RFC 7518 section 3.2
	minRSABits = 2048 // RFC 7518 section 3.3
)

// key verifies signatures.
type key struct {
	id   string // "" if it has none
	algs map[string]jwa.SignatureAlgorithm
	key  any // as the library takes it
}

// named returns algs by name.
func named(algs ...jwa.SignatureAlgorithm) map[string]jwa.SignatureAlgorithm {
	byName := make(map[string]jwa.SignatureAlgorithm)
	for _, alg := range algs {
		byName[alg.String()] = alg
	}
	return byName
}

// algorithms returns what a public key can verify.
func algorithms(public any) (map[string]jwa.SignatureAlgorithm, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits is too short: it takes %d", bits, minRSABits)
		}
		return named(jwa.RS256(), jwa.RS384(), jwa.RS512(), jwa.PS256(), jwa.PS384(), jwa.PS512()), nil
	case *ecdsa.PublicKey:
		// Each algorithm is for one curve, RFC 7518 section 3.4; the library takes any.
		switch k.Curve {
		case elliptic.P256():
			return named(jwa.ES256()), nil
		case elliptic.P384():
			return named(jwa.ES384()), nil
		case elliptic.P521():
			return named(jwa.ES512()), nil
		}
		return nil, fmt.Errorf("a key on the curve %s is for no algorithm: take P-256, P-384 or P-521", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return named(jwa.EdDSA()), nil
	}
	return nil, fmt.Errorf("a key of this type (%T) is for no algorithm: take RSA, EC or Ed25519", public)
}

// secretKey reads the text of a secret file. Editors and echo end it with a line end.
func secretKey(text []byte) (key, error) {
	secret := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if bytes.Contains(secret, []byte("-----BEGIN ")) {
		return key{}, errors.New("holds a PEM key, not a secret: HS256 takes a secret that nobody else knows")
	}
	if len(secret) < minSecret {
		words := "is empty"
		if len(secret) > 0 {
			words = fmt.Sprintf("holds %d bytes, at least %d are needed", len(secret), minSecret)
		}
		return key{}, errors.New(words + ": make one with: openssl rand -hex 32")
	}
	return key{algs: named(jwa.HS256()), key: secret}, nil
}

// publicKey reads the text of a public key file.
func publicKey(text []byte) (key, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return key{}, errors.New("holds no PEM block: it begins with -----BEGIN PUBLIC KEY-----")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return key{}, errors.New("holds more than one PEM block: leave one key in it")
	}
	var public any
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return key{}, errors.New("holds a private key, which belongs to the issuer alone: make the public one of it with: openssl pkey -pubout")
	default:
		return key{}, fmt.Errorf("holds a PEM block of type %q, not a PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE", block.Type)
	}
	if err != nil {
		return key{}, fmt.Errorf("can't be read: %w", err)
	}
	algs, err := algorithms(public)
	if err != nil {
		return key{}, err
	}
	return key{algs: algs, key: public}, nil
}
