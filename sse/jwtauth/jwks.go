package jwtauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// parseKeySet returns those keys of a JWKS that tokens can be verified with. Others
// are ignored, as RFC 7517 section 5 asks for: an issuer may have keys for all sorts of
// things, some of a kind that is not invented yet.
func parseKeySet(text []byte) ([]key, error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, errors.New(`the answer is not a JWKS: a JSON object with a list "keys"`)
	}
	var keys []key
	for _, text := range *set.Keys {
		if k, err := parseJWK(text); err == nil {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// parseJWK reads one key. An error says why it is ignored.
func parseJWK(text []byte) (key, error) {
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return key{}, err
	}
	if use, ok := parsed.KeyUsage(); ok && use != jwk.ForSignature.String() {
		return key{}, errors.New("not for signatures")
	}
	if ops, ok := parsed.KeyOps(); ok && !slices.Contains(ops, jwk.KeyOpVerify) {
		return key{}, errors.New("not for verifying")
	}
	// For secrets and private keys there are no algorithms: whoever read them here
	// could sign, too.
	var public any
	if err := jwk.Export(parsed, &public); err != nil {
		return key{}, err
	}
	algs, err := algorithms(public)
	if err != nil {
		return key{}, err
	}
	if alg, ok := parsed.Algorithm(); ok {
		only, ok := algs[alg.String()]
		if !ok {
			return key{}, fmt.Errorf("a key for %s, which is not for keys of its type", alg)
		}
		algs = map[string]jwa.SignatureAlgorithm{alg.String(): only}
	}
	id, _ := parsed.KeyID()
	return key{id: id, algs: algs, key: public}, nil
}
