//go:build e2e

package handlers_test

import (
	"fmt"
	"net/http"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/gallery"
)

// do runs a script on the page; what it leads to comes later.
func (s *screen) do(script string) {
	s.t.Helper()
	if _, err := gallery.Ask[bool](s.Camera, "(() => {"+script+"; return true})()"); err != nil {
		s.t.Fatal(err)
	}
}

// atIssuer signs somebody in on the issuer's page, which has to come by itself.
func (s *screen) atIssuer(i *issuer, name string) {
	s.t.Helper()
	s.waits(fmt.Sprintf(`location.origin === %q && document.forms.length === 1`, i.url))
	s.do(fmt.Sprintf(`const f = document.forms[0]; f.username.value = %q; f.password.value = %q; f.agree.value = "yes"; f.submit()`, name, companyPassword))
}

// The policy of the pages and the cookies of the session let the browser go to
// the issuer and come back, from a link and from a form, to sign in, to connect
// an account and to leave.
func TestCompanySignInInChromium(t *testing.T) {
	p, i := company(t)
	i.person("id-1", "dana")
	i.person("id-2", "alice")
	s := p.screen(p.anonymous())
	s.open("/login?next=/explorer")
	s.do(`document.querySelector("main a.btn-primary").click()`)
	s.atIssuer(i, "dana")
	s.waits(at("/explorer"))
	s.do(`document.querySelector("form[action='/logout'] button").click()`)
	s.waits(fmt.Sprintf(`location.origin === %q && `, p.url) + at("/login")) // by way of the issuer
	s.open("/explorer")
	s.waits(at("/login"))

	p.member("alice")
	b := p.anonymous()
	b.post("/login", "username", "alice", "password", password).is(http.StatusSeeOther)
	s.become(b)
	s.open("/account")
	s.do(`document.querySelector("form[action='/account/identities'] button").click()`)
	s.atIssuer(i, "alice")
	s.waits(at("/account"))
	s.waits(s.says("body", "alice is connected"))
}
