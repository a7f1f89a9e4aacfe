package jwtauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// maxToken is the length of the longest token, in bytes. A server's limit of header
// bytes comes on top: net/http's is 1 MB.
const maxToken = 8 << 10

// header is what counts of a token's header. Nothing has been verified.
type header struct {
	alg string
	kid string // "" if there is none
}

// base64url is every byte of a part of a token. Go's decoder skips line ends.
const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// refusedMembers of a header, and why.
var refusedMembers = []struct{ name, why string }{
	{"crit", "it asks for an extension (crit)"},
	{"b64", "it asks for an extension (b64)"},
	{"cty", "it is nested in another (cty)"},
	{"enc", "it is encrypted (enc)"},
	{"zip", "it is compressed (zip)"},
	{"jwk", "it brings its own key (jwk)"},
	{"jku", "it brings its own key (jku)"},
	{"x5u", "it brings its own key (x5u)"},
	{"x5c", "it brings its own key (x5c)"},
}

// readHeader reads the header of token, whose form is then that of a JWS in compact
// serialization, RFC 7515 section 7.1.
func readHeader(token string) (header, error) {
	if len(token) > maxToken {
		return header{}, errors.New("the token is longer than 8 kB")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return header{}, errors.New("the token is not three parts with dots between: it must be signed, in compact form")
	}
	for _, part := range parts {
		if part == "" || strings.Trim(part, base64url) != "" {
			return header{}, errors.New("a part of the token is not base64url")
		}
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return header{}, errors.New("a part of the token is not base64url")
		}
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return header{}, errors.New("a part of the token is not base64url")
	}
	members, err := readObject(text)
	if err != nil {
		return header{}, errors.New("the token's header " + err.Error())
	}
	for _, refused := range refusedMembers {
		if _, ok := members[refused.name]; ok {
			return header{}, errors.New("the token is refused: " + refused.why)
		}
	}
	var h header
	if h.alg, err = readString(members["alg"]); err != nil {
		return header{}, errors.New("the token's header has no alg")
	}
	if raw, ok := members["kid"]; ok {
		if h.kid, err = readString(raw); err != nil {
			return header{}, errors.New("the token's kid is not a string")
		}
	}
	// RFC 8725 section 3.11: one kind of token must not pass for another, such as a
	// logout token or a proof of possession of the same issuer.
	if raw, ok := members["typ"]; ok {
		typ, err := readString(raw)
		typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
		if err != nil || typ != "jwt" && typ != "at+jwt" {
			return header{}, errors.New("the token's typ is neither JWT nor at+jwt")
		}
	}
	return h, nil
}

// readObject returns the members of a JSON object, none of which may be there twice.
// Its errors go after a subject, and don't quote.
func readObject(text []byte) (map[string]json.RawMessage, error) {
	notObject := errors.New("is not a JSON object")
	if !utf8.Valid(text) { // else what differs could become the same
		return nil, notObject
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, notObject
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, notObject
		}
		if _, twice := members[name]; twice {
			return nil, errors.New("has a member twice")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, notObject
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, notObject
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, notObject
	}
	return members, nil
}

var errNotString = errors.New("not a string")

// readString reads a JSON string.
func readString(raw json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", errNotString
	}
	return *s, nil
}
