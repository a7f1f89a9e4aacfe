// Package loopback knows the names of this machine.
package loopback

import "net/netip"

// Is says whether a connection to host, a name or an address without a port, stays on
// this machine.
func Is(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
