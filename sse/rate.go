package sse

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// rate lets each address ask so many times a second, and ten times as often at once: a
// token bucket for each.
type rate struct {
	perSecond float64 // 0: no limit

	mu      sync.Mutex
	buckets map[netip.Addr]bucket
	swept   time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

// allow takes a token of addr, or reports false if there is none.
func (r *rate) allow(addr netip.Addr) bool {
	if r.perSecond == 0 {
		return true
	}
	addr = network(addr)
	most := max(1, 10*r.perSecond)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	full := time.Duration(most / r.perSecond * float64(time.Second))
	if r.buckets == nil || now.Sub(r.swept) > full {
		kept := make(map[netip.Addr]bucket, len(r.buckets)/2)
		for a, b := range r.buckets {
			if now.Sub(b.at) < full { // else it is full again, as if it were new
				kept[a] = b
			}
		}
		r.buckets, r.swept = kept, now
	}
	b, ok := r.buckets[addr]
	if !ok {
		b = bucket{most, now}
	}
	b.tokens = min(most, b.tokens+now.Sub(b.at).Seconds()*r.perSecond)
	b.at = now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	r.buckets[addr] = b
	return allowed
}

// network returns the addresses that a client has who has addr: of IPv6 that is 2^64.
func network(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// clientAddr returns the client's address: the peer's or, if the peer is a proxy in
// trusted, the last address in X-Forwarded-For that is not such a proxy. The client may
// have made up what comes before that. The zero Addr means that there is no address.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr := peerAddr(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && isIn(trusted, addr); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = bare(hop)
	}
	return addr
}

// peerAddr returns the address at the other end of the connection: the zero Addr,
// which no prefix contains, where there is none, as with a Unix socket.
func peerAddr(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return bare(peer.Addr())
}

// bare returns addr as prefixes know it: a dual-stack listener sees IPv4 peers as
// ::ffff:10.0.0.1, and Contains is false for an address with a zone.
func bare(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

func isIn(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}
