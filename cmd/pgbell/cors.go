package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/rs/cors"
	"github.com/urfave/cli/v3"
)

func corsFlag() cli.Flag {
	return listFlag("cors-origin", "let pages of `ORIGIN`, such as https://app.example.com, read /events, /live and /presence, cookies included "+
		"(repeat it, or separate by commas; * alone lets every site's pages read, without cookies, what their visitors can reach)")
}

// preflightAge is for how long a browser need not ask again: Chromium's limit.
const preflightAge = 2 * 60 * 60

// crossOrigin is what lets the pages of origins read. Without origins it is nil.
func crossOrigin(values []string) (func(http.Handler) http.Handler, error) {
	if len(values) == 0 {
		return nil, nil
	}
	var origins []string
	for _, s := range strings.Split(strings.Join(values, ","), ",") {
		s = strings.TrimSpace(s)
		if err := checkOrigin(s); err != nil {
			return nil, err
		}
		origins = append(origins, s)
	}
	all := slices.Contains(origins, "*")
	if all && len(origins) > 1 {
		return nil, usagef("--cors-origin * stands alone: it is every origin, so leave out the others, or leave out *")
	}
	options := cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet},
		AllowedHeaders: []string{"Authorization", "Cache-Control", "If-None-Match", "Last-Event-ID"},
		ExposedHeaders: []string{"ETag", "Pgbell-Cursor", "Retry-After"},
		MaxAge:         preflightAge,
	}
	if !all { // AllowedOrigins would fold case
		options.AllowCredentials = true
		options.AllowOriginFunc = func(origin string) bool { return slices.Contains(origins, origin) }
	}
	policy := cors.New(options)
	return func(next http.Handler) http.Handler {
		shared := policy.Handler(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch path := r.URL.Path; {
			case path == "/events", path == "/presence", strings.HasPrefix(path, "/live/"):
				shared.ServeHTTP(w, r)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}, nil
}

var (
	schemeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)
	hostName   = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)
)

// checkOrigin says how to write s as browsers do (WHATWG HTML, "serialization of an
// origin"): one that is written in another way would never match.
func checkOrigin(s string) error {
	switch {
	case s == "*":
		return nil
	case s == "":
		return usagef("--cors-origin has an empty origin")
	case strings.EqualFold(s, "null"):
		return usagef("--cors-origin null is refused: any site can make a page whose origin is null")
	case strings.Contains(s, "*"):
		return usagef("--cors-origin %q: there are no patterns: name each origin", s)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !schemeName.MatchString(scheme) {
		return usagef("--cors-origin %q is not SCHEME://HOST[:PORT], such as https://app.example.com", s)
	}
	host, _, longer := strings.Cut(rest, "/")
	if longer {
		return usagef("--cors-origin %q: an origin has no path: write %s", s, scheme+"://"+host)
	}
	u, err := url.Parse(s)
	if err != nil || u.Host != rest || u.Hostname() == "" || strings.HasSuffix(rest, ":") {
		return usagef("--cors-origin %q is not SCHEME://HOST[:PORT], such as https://app.example.com", s)
	}
	want, err := originOf(u)
	switch {
	case err != nil:
		return usagef("--cors-origin %q: %v", s, err)
	case s != want:
		return usagef("--cors-origin %q: browsers send it as %s: write it so", s, want)
	}
	return nil
}

// originOf is what a browser calls the origin of u.
func originOf(u *url.URL) (string, error) {
	name, port := strings.ToLower(u.Hostname()), u.Port()
	if ip, err := netip.ParseAddr(name); err == nil {
		if name = ip.String(); ip.Is6() {
			name = "[" + name + "]"
		}
	} else if !hostName.MatchString(name) {
		return "", fmt.Errorf("%q is not the name of a host (of one with other letters, write the xn-- form)", name)
	}
	implied := u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443"
	if port != "" && !implied {
		name += ":" + port
	}
	return u.Scheme + "://" + name, nil // Parse has lowered the scheme
}
