package kubevirt

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// errAddress is the cause of ADDRESS_NOT_ALLOWED.
var errAddress = errors.New("address not allowed")

// guard decides which addresses the portal connects to. It runs when the
// socket is made, after name resolution, so a name that changes its address
// after a check (DNS rebinding) gains nothing. Private ranges are allowed:
// that is where clusters live.
type guard struct {
	allow     []netip.Prefix
	deny      []netip.Prefix
	denyAddrs []netip.AddrPort
}

// never are ranges that no setting opens: nothing there is a cluster, and the
// metadata services of clouds give out credentials.
var never = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),     // link-local, metadata of most clouds
	netip.MustParsePrefix("100.100.100.200/32"), // metadata of Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // wire server of Azure
	netip.MustParsePrefix("224.0.0.0/3"),        // multicast, reserved, broadcast
	netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
	netip.MustParsePrefix("fd00:ec2::254/128"), // metadata of AWS
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func inAny(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// permits says whether the portal may connect to an address.
func (g guard) permits(ap netip.AddrPort) bool {
	a := ap.Addr().Unmap().WithZone("")
	if nat64.Contains(a) { // an IPv4 address in disguise
		b := a.As16()
		return g.permits(netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:])), ap.Port()))
	}
	switch {
	case inAny(never, a), inAny(g.deny, a), slices.Contains(g.denyAddrs, netip.AddrPortFrom(a, ap.Port())):
		return false
	case a.IsLoopback():
		// Only a prefix that lies inside loopback opens it; 0.0.0.0/0 does not.
		return slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Addr().IsLoopback() && p.Contains(a) })
	default:
		return len(g.allow) == 0 || inAny(g.allow, a)
	}
}

// control is net.Dialer.Control.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !g.permits(ap) {
		return fmt.Errorf("%w: %s", errAddress, address)
	}
	return nil
}

func (g guard) dialer() *net.Dialer {
	return &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second, Control: g.control}
}
