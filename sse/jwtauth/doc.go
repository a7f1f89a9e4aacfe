// Package jwtauth knows users by JSON Web Tokens, for an [sse.Handler].
//
// # What a token must be
//
// Signed, in compact form, at most 8 kB, with these claims:
//
//	sub     the user id, a string that is not empty
//	exp     when the streams it opened end; without it there is no end, so it must be there
//	nbf     not before, iat issued at: not in the future, give or take ten seconds
//	iss     the configured issuer, if one is configured
//	aud     the configured audience or a list with it, if one is configured
//	scopes  a list of strings, which [sse.ByScopes] reads; may be left out
//
// A claim that is there twice refuses the token, as do header members that name
// another key (jwk, jku, x5u, x5c) or ask for what is not known here (crit).
//
// # Which algorithms
//
// The key decides, never the token: a secret is for HS256, an RSA key for RS256 to
// RS512 and PS256 to PS512, a P-256 key for ES256, P-384 for ES384, P-521 for ES512,
// an Ed25519 key for EdDSA. A key of a JWKS that names its alg is for that one only.
//
// # Where it is looked for
//
// In the header "Authorization: Bearer", else in the cookie, else, if [Config.QueryParam]
// is set, in the parameter "token". The first of these that is there counts, good or bad.
// No error and no log line of this package has a token in it, or a part of one.
package jwtauth
