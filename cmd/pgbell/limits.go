package main

import (
	"math"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/sse"
)

func limitFlags() []cli.Flag {
	return []cli.Flag{
		intFlag("max-connections", 20_000, "streams open at once"),
		intFlag("max-connections-per-user", 0, "streams open at once of one user; 0 is any number"),
		boolFlag("newest-wins", false, "end a user's oldest stream rather than refuse the new one"),
		floatFlag("max-rate", 0, "new streams and questions who is present, a second from one address, ten times as many at once; 0 is any number"),
		intFlag("max-scopes", 100, "scopes of one stream"),
		intFlag("max-replay", 10_000, "events that one who comes back is sent; more become a reset"),
	}
}

// setLimits takes over the limits that the flags say.
func setLimits(c *cli.Command, cfg *sse.Config) error {
	for _, name := range []string{"max-connections", "max-scopes", "max-replay"} {
		if c.Int(name) < 1 {
			return usagef("--%s is a number of 1 or more", name)
		}
	}
	if c.Int("max-connections-per-user") < 0 {
		return usagef("--max-connections-per-user is a number of 1 or more, or 0 for any number")
	}
	if rate := c.Float("max-rate"); !(rate >= 0) || math.IsInf(rate, 0) {
		return usagef("--max-rate is a number above 0, such as 0.5 or 10, or 0 for any number")
	}
	if c.Bool("newest-wins") && c.Int("max-connections-per-user") == 0 {
		return usagef("--newest-wins needs --max-connections-per-user")
	}
	trusted, err := networks(c.StringSlice("trusted-proxies"))
	if err != nil {
		return err
	}
	cfg.MaxStreams, cfg.MaxStreamsPerUser = c.Int("max-connections"), c.Int("max-connections-per-user")
	cfg.NewestWins, cfg.StreamRate, cfg.TrustedProxies = c.Bool("newest-wins"), c.Float("max-rate"), trusted
	cfg.MaxScopes, cfg.MaxReplay = c.Int("max-scopes"), c.Int("max-replay")
	return nil
}
