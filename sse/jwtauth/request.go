package jwtauth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// readToken returns the token of r, which is not empty. What is there but can't be
// read is an error: the next place could hold somebody else's token.
func (a *authenticator) readToken(r *http.Request) (string, error) {
	if values := r.Header["Authorization"]; len(values) > 0 {
		return bearer(values)
	}
	if values := cookies(r.Header["Cookie"], a.cfg.Cookie); len(values) > 0 {
		return only(values, "cookie")
	}
	if a.cfg.QueryParam {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil { // whose text would quote the query
			return "", errors.New("the query can't be read for a token")
		}
		if values := query["token"]; len(values) > 0 {
			return only(values, "query parameter")
		}
	}
	return "", errors.New("no token")
}

// bearer reads the values of the header Authorization.
func bearer(values []string) (string, error) {
	value, err := only(values, "Authorization header")
	if err != nil {
		return "", err
	}
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", errors.New("the Authorization header is not Bearer and a token")
	}
	return token, nil
}

// cookies returns the values of the cookies of this name. [http.Request.Cookie] would
// drop those with a byte that does not belong there.
func cookies(headers []string, name string) []string {
	var values []string
	for _, header := range headers {
		for pair := range strings.SplitSeq(header, ";") {
			n, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if n == name {
				values = append(values, value)
			}
		}
	}
	return values
}

// only returns the one of values. Of two cookies, say, one may have been planted by a
// neighbouring host.
func only(values []string, what string) (string, error) {
	if len(values) > 1 {
		return "", errors.New("more than one token: the " + what + " is there twice")
	}
	if values[0] == "" {
		return "", errors.New("the " + what + " is empty")
	}
	return values[0], nil
}
