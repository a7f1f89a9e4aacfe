package main

import (
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/jwtauth"
)

// keyFlags say where the keys of tokens come from, jwtFlags all about tokens.
var (
	keyFlags = []string{"jwt-secret-file", "jwt-public-key-file", "jwt-jwks-url"}
	jwtFlags = append(slices.Clone(keyFlags), "jwt-issuer", "jwt-audience", "jwt-query-param", "jwt-groups-claim")
)

// authFlags are the flags of serve that say who is asking.
func authFlags() []cli.Flag {
	return []cli.Flag{
		stringFlag("auth", "none", "how to know who is asking: none (all are anonymous), header (a proxy says so) or jwt (a token does)"),
		stringFlag("auth-header", "X-Forwarded-User", "the `HEADER` with the user id, for --auth header"),
		stringFlag("groups-header", "X-Forwarded-Groups", "the `HEADER` with the user's groups, separated by commas, for --auth header"),
		listFlag("trusted-proxies", "believe these headers from these `NETWORKS` only (repeat it, or separate by commas; default 127.0.0.0/8,::1/128)"),
		secretFlag(),
		stringFlag("jwt-public-key-file", "", "believe tokens signed by the private half of the key in this PEM `FILE` (RS, PS, ES, EdDSA)"),
		stringFlag("jwt-jwks-url", "", "believe tokens signed by the keys that the issuer publishes at this `URL`"),
		issuerFlag("believe only tokens of this `ISSUER` (iss)"),
		audienceFlag("believe only tokens meant for this `AUDIENCE` (aud)"),
		stringFlag("jwt-groups-claim", "groups", "the `CLAIM` that lists the user's groups"),
		authorizeFlag(),
		groupsFlag("ask this SQL `FUNCTION` (user_id text) returning text[] which groups a user is in, and again while streams live, in place of a token or header"),
		boolFlag("jwt-query-param", false, "also take the token from ?token=, for an EventSource without cookies; proxies may log it"),
	}
}

func secretFlag() cli.Flag {
	return stringFlag("jwt-secret-file", "", "the secret in this `FILE` signs the tokens (HS256); make one with: openssl rand -hex 32")
}

func issuerFlag(usage string) cli.Flag   { return stringFlag("jwt-issuer", "", usage) }
func audienceFlag(usage string) cli.Flag { return stringFlag("jwt-audience", "", usage) }

var headerName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// authentication is what --auth and its flags ask for.
func authentication(c *cli.Command, log *slog.Logger) (sse.AuthenticateFunc, error) {
	header, groups := c.String("auth-header"), c.String("groups-header")
	for _, name := range []string{"auth-header", "groups-header"} {
		if !headerName.MatchString(c.String(name)) {
			return nil, usagef("--%s %q is not the name of a header", name, c.String(name))
		}
	}
	if strings.EqualFold(header, groups) {
		return nil, usagef("--auth-header and --groups-header are the same: a user's name would be a group")
	}
	trusted, err := networks(c.StringSlice("trusted-proxies"))
	if err != nil {
		return nil, err
	}
	auth := c.String("auth")
	if given := flagsGiven(c, jwtFlags); auth != "jwt" && len(given) > 0 {
		// Else the server would let in everybody whom these flags were to keep out.
		return nil, usagef("%s is for --auth jwt, and --auth is %q", given[0], auth)
	}
	if auth != "header" && c.IsSet("groups-header") {
		return nil, usagef("--groups-header is for --auth header, and --auth is %q", auth)
	}
	if c.IsSet("groups-sql") {
		if given := flagsGiven(c, []string{"groups-header", "jwt-groups-claim"}); len(given) > 0 {
			return nil, usagef("--groups-sql and %s can't go together: one says which groups a user is in", given[0])
		}
		if auth == "none" {
			return nil, usagef("--groups-sql is for --auth header or jwt: with none, nobody has a name, and is in no group")
		}
		groups = "" // nobody looks at it
	}
	switch auth {
	case "none":
		return sse.Anonymous, nil
	case "header":
		return warnIgnored(header, sse.HeaderGroups(header, groups, trusted), log), nil
	case "jwt":
		return tokens(c, log)
	default:
		return nil, usagef("--auth is none, header or jwt, not %q", auth)
	}
}

// warnIgnored is authenticate, which takes users from header, with a warning, once a
// minute at most, where it ignored one: else somebody behind a proxy that is not
// trusted is anonymous without a word.
func warnIgnored(header string, authenticate sse.AuthenticateFunc, log *slog.Logger) sse.AuthenticateFunc {
	var last atomic.Int64 // Unix time
	return func(r *http.Request) (sse.Identity, error) {
		id, err := authenticate(r)
		if err == nil && id.UserID == "" && r.Header.Get(header) != "" {
			now, before := time.Now().Unix(), last.Load()
			if now-before >= 60 && last.CompareAndSwap(before, now) {
				log.Warn("a user was ignored, who is anonymous now: the request came from an address that is not among --trusted-proxies", "header", header, "from", r.RemoteAddr)
			}
		}
		return id, err
	}
}

// flagsGiven returns those of names that are set, with their dashes.
func flagsGiven(c *cli.Command, names []string) []string {
	var given []string
	for _, name := range names {
		if c.IsSet(name) {
			given = append(given, "--"+name)
		}
	}
	return given
}

// tokens is --auth jwt.
func tokens(c *cli.Command, log *slog.Logger) (sse.AuthenticateFunc, error) {
	given := flagsGiven(c, keyFlags)
	if len(given) == 0 {
		return nil, usagef("--auth jwt needs a key: one of --%s", strings.Join(keyFlags, ", --"))
	}
	if len(given) > 1 {
		return nil, usagef("%s can't go together: tokens have one source of keys", strings.Join(given, " and "))
	}
	cfg := jwtauth.Config{
		SecretFile:    c.String("jwt-secret-file"),
		PublicKeyFile: c.String("jwt-public-key-file"),
		JWKSURL:       c.String("jwt-jwks-url"),
		Issuer:        c.String("jwt-issuer"),
		Audience:      c.String("jwt-audience"),
		GroupsClaim:   c.String("jwt-groups-claim"),
		NoGroups:      c.IsSet("groups-sql"),
		QueryParam:    c.Bool("jwt-query-param"),
		Logger:        log,
	}
	if cfg.GroupsClaim == "" {
		return nil, usagef("--jwt-groups-claim is empty")
	}
	if cfg.SecretFile == "" && cfg.PublicKeyFile == "" && cfg.JWKSURL == "" {
		return nil, usagef("%s is empty", given[0])
	}
	authenticate, err := jwtauth.New(cfg)
	if err != nil && cfg.JWKSURL != "" {
		return nil, usagef("%s: %w", given[0], err)
	}
	if err == nil && cfg.JWKSURL != "" && cfg.Audience == "" {
		log.Warn("tokens that the issuer made for other services are believed, too: set --jwt-audience")
	}
	return authenticate, err
}

// networks reads CIDR prefixes and addresses; without any it is the loopback.
func networks(list []string) ([]netip.Prefix, error) {
	if len(list) == 0 {
		list = []string{"127.0.0.0/8", "::1/128"}
	}
	var all []netip.Prefix
	for _, s := range strings.Split(strings.Join(list, ","), ",") {
		s = strings.TrimSpace(s)
		p, err := netip.ParsePrefix(s)
		if err != nil {
			ip, ipErr := netip.ParseAddr(s)
			if ipErr != nil {
				return nil, usagef("--trusted-proxies: %q is not a network such as 10.0.0.0/8 or 10.0.0.7", s)
			}
			p = netip.PrefixFrom(ip, ip.BitLen())
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
