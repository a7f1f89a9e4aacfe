package main

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/sse/jwtauth"
)

func tokenCommand() *cli.Command {
	return &cli.Command{
		Name:  "token",
		Usage: "print a token for serve --auth jwt, to try it with",
		Description: "Give it the file that serve has, or the private half of its key:\n" +
			"  openssl rand -hex 32 > pgbell.secret\n" +
			"  pgbell serve --auth jwt --jwt-secret-file pgbell.secret\n" +
			"  curl -N -H \"Authorization: Bearer $(pgbell token --user alice --scope 'project:*' --jwt-secret-file pgbell.secret)\" \\\n" +
			"    'http://127.0.0.1:8080/events?scope=project:7'",
		Flags: []cli.Flag{
			stringFlag("user", "", "who is asking: the `USER` id (sub)"),
			listFlag("scope", "allow this `SCOPE`, with a trailing * all that begin so (repeat it)"),
			listFlag("group", "say that the user is in this `GROUP`, such as team:7 (repeat it)"),
			durationFlag("ttl", time.Hour, "valid for this time; the streams opened with it end then"),
			secretFlag(),
			stringFlag("jwt-private-key-file", "", "the private key in this PEM `FILE` signs the token (RS256, ES256, ES384, ES512, EdDSA)"),
			issuerFlag("say that the token is of this `ISSUER` (iss)"),
			audienceFlag("say that the token is meant for this `AUDIENCE` (aud)"),
			jsonFlag(),
		},
		Action: token,
	}
}

// tokenInfo is what token --json prints.
type tokenInfo struct {
	Token    string    `json:"token"`
	User     string    `json:"user"`
	Scopes   []string  `json:"scopes,omitempty"`
	Groups   []string  `json:"groups,omitempty"`
	Expires  time.Time `json:"expires"`
	Issuer   string    `json:"issuer,omitempty"`
	Audience string    `json:"audience,omitempty"`
}

func token(_ context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	user, ttl := c.String("user"), c.Duration("ttl")
	if user == "" {
		return usagef("token needs a user: name one with --user")
	}
	if len(user) > 1024 || !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl) { // see sse.Identity
		return usagef("--user is at most 1024 bytes of UTF-8, without control characters")
	}
	if ttl < time.Second {
		return usagef("--ttl is a time of a second or more, such as 1h")
	}
	signer, err := tokenSigner(c)
	if err != nil {
		return err
	}
	info := tokenInfo{
		User:   user,
		Scopes: c.StringSlice("scope"),
		Groups: c.StringSlice("group"),
		// In whole seconds, as in the token, and not less than asked for.
		Expires:  time.Now().Add(ttl + time.Second - 1).Truncate(time.Second).UTC(),
		Issuer:   c.String("jwt-issuer"),
		Audience: c.String("jwt-audience"),
	}
	info.Token, err = signer.Sign(jwtauth.Claims{
		UserID: user, Scopes: info.Scopes, Groups: info.Groups, Expires: info.Expires, Issuer: info.Issuer, Audience: info.Audience,
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, info)
	}
	_, err = fmt.Fprintln(c.Root().Writer, info.Token)
	return err
}

// tokenSigner reads the key that signs.
func tokenSigner(c *cli.Command) (*jwtauth.Signer, error) {
	secret, private := c.String("jwt-secret-file"), c.String("jwt-private-key-file")
	switch {
	case secret != "" && private != "":
		return nil, usagef("--jwt-secret-file and --jwt-private-key-file can't go together: one key signs")
	case secret != "":
		return jwtauth.SecretSigner(secret)
	case private != "":
		return jwtauth.PrivateKeySigner(private)
	}
	return nil, usagef("token needs the key that serve knows: make a secret with openssl rand -hex 32 > pgbell.secret, and give --jwt-secret-file pgbell.secret to both")
}
