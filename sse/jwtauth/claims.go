package jwtauth

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pgbell/pgbell/sse"
)

// leeway is how far the issuer's clock may be ahead of ours. Where it is behind, exp
// comes early: no leeway helps there.
const leeway = 10 * time.Second

// readClaims reads the payload of a token whose signature is good.
func (a *authenticator) readClaims(payload []byte, now time.Time) (sse.Identity, error) {
	claims, err := readObject(payload)
	if err != nil {
		return sse.Identity{}, errors.New("the token's payload " + err.Error())
	}
	expires, err := readTimes(claims, now)
	if err != nil {
		return sse.Identity{}, err
	}
	if want := a.cfg.Issuer; want != "" {
		if got, err := readString(claims["iss"]); err != nil || got != want {
			return sse.Identity{}, errors.New("the token's iss is not the issuer that is configured")
		}
	}
	if want := a.cfg.Audience; want != "" && !hasAudience(claims["aud"], want) {
		return sse.Identity{}, errors.New("the token's aud is not the audience that is configured")
	}
	user, err := readString(claims["sub"])
	// U+FFFD is what a lone surrogate is read as: two users would be one.
	if err != nil || user == "" || strings.ContainsRune(user, utf8.RuneError) {
		return sse.Identity{}, errors.New("the token's sub is not a user id: a string that is not empty")
	}
	id := sse.Identity{UserID: user, Expires: expires}
	if id.Scopes, err = readList(claims, "scopes"); err == nil && !a.cfg.NoGroups {
		id.Groups, err = readList(claims, a.cfg.GroupsClaim)
		if strings.ContainsRune(strings.Join(id.Groups, ""), utf8.RuneError) { // as with sub
			err = errors.New("the token's " + a.cfg.GroupsClaim + " has half a character")
		}
	}
	if err != nil {
		return sse.Identity{}, err
	}
	return id, nil
}

// readList reads a claim that is a list of strings; nil if there is no such claim.
func readList(claims map[string]json.RawMessage, name string) ([]string, error) {
	raw, ok := claims[name]
	if !ok {
		return nil, nil
	}
	list, err := readStrings(raw)
	if err != nil {
		return nil, errors.New("the token's " + name + " is not a list of strings")
	}
	return list, nil
}

// readTimes reads exp, nbf and iat, and returns the first.
func readTimes(claims map[string]json.RawMessage, now time.Time) (time.Time, error) {
	raw, ok := claims["exp"]
	if !ok {
		return time.Time{}, errors.New("the token has no exp: a stream must end, so a token must")
	}
	expires, err := readTime(raw)
	if err != nil {
		return time.Time{}, errors.New("the token's exp " + err.Error())
	}
	if !now.Before(expires) {
		return time.Time{}, errors.New("the token has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		raw, ok := claims[name]
		if !ok {
			continue
		}
		at, err := readTime(raw)
		if err != nil {
			return time.Time{}, errors.New("the token's " + name + " " + err.Error())
		}
		if at.After(now.Add(leeway)) {
			return time.Time{}, errors.New("the token's " + name + " is in the future")
		}
	}
	return expires, nil
}

// maxSeconds is the end of the year 9999. More are milliseconds.
const maxSeconds = 253402300799

// readTime reads a NumericDate, RFC 7519 section 2. Its errors go after a subject.
func readTime(raw json.RawMessage) (time.Time, error) {
	var n *json.Number
	// A Number takes strings, too.
	if raw[0] == '"' || json.Unmarshal(raw, &n) != nil || n == nil {
		return time.Time{}, errors.New("is not a number")
	}
	seconds, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || seconds < 0 || seconds > maxSeconds {
		return time.Time{}, errors.New("is not a time in seconds since 1970")
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// hasAudience says whether aud is want, or a list with want in it.
func hasAudience(aud json.RawMessage, want string) bool {
	if one, err := readString(aud); err == nil {
		return one == want
	}
	all, err := readStrings(aud)
	return err == nil && slices.Contains(all, want)
}

// readStrings reads a JSON array of strings.
func readStrings(raw json.RawMessage) ([]string, error) {
	var values []json.RawMessage // a []string would take null for ""
	if err := json.Unmarshal(raw, &values); err != nil || values == nil {
		return nil, errNotString
	}
	all := make([]string, 0, len(values))
	for _, value := range values {
		s, err := readString(value)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
