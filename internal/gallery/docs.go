package gallery

import (
	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// documentation are the pages of the guides, with a short text in all that
// Markdown can hold.
func documentation() map[string]templ.Component {
	guides := []views.DocsLink{
		{Lang: "en", Title: "Documentation", Href: paths.Docs},
		{Lang: "en", Title: "How it works", Href: paths.Guide("concepts")},
		{Lang: "en", Title: "User guide", Href: paths.Guide("user-guide")},
		{Lang: "en", Title: "Operator guide", Href: paths.Guide("operator-guide")},
	}
	index := templ.Raw(`<h1 id="documentation">Documentation</h1><p>Where to begin.</p><ul>
<li><a href="/docs/concepts">How it works</a>: the ideas.</li><li><a href="/docs/user-guide">User guide</a>: ask for VMs.</li></ul>`)
	guide := templ.Raw(`<h1 id="user-guide">User guide</h1><p>Ask for VMs and operate them.</p>
<h2 id="ask-for-vms">Ask for VMs</h2><ol><li>Press <strong>Request VM</strong>.</li><li>Choose a template and a size.</li></ol>
<blockquote><p>Nothing is sent before you say so.</p></blockquote>
<h3 id="ssh-keys">SSH keys</h3><pre tabindex="0"><code>ssh-keygen -t ed25519 -f ~/.ssh/a-file-with-a-name-that-is-too-long-for-a-phone -C &quot;dana@laptop&quot;
</code></pre>
<h2 id="states">States</h2><div class="overflow-x-auto" tabindex="0" role="group" aria-label="Table"><table>
<thead><tr><th>State</th><th>What it means</th></tr></thead><tbody><tr><td><code>PENDING_APPROVAL</code></td><td>It waits for a decision.</td></tr></tbody></table></div>
<p><svg role="img" aria-label="From waiting to done" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 60" width="240" height="60">
<g class="rl-wait"><rect x="8" y="8" width="90" height="44" rx="7"/><text x="20" y="27" font-size="12">PENDING</text><text x="20" y="43" font-size="11">waits</text></g>
<g class="rl-ok"><rect x="142" y="8" width="90" height="44" rx="7"/><text x="154" y="27" font-size="12">COMPLETED</text><text x="154" y="43" font-size="11">done</text></g>
<path class="rl-line" d="M98 30H142" fill="none"/></svg></p>`)
	headings := []views.DocsHeading{
		{ID: "ask-for-vms", Title: "Ask for VMs"}, {ID: "ssh-keys", Title: "SSH keys", Sub: true}, {ID: "states", Title: "States"},
	}
	return map[string]templ.Component{
		"docs":       views.Docs(viewer("Documentation", "docs", "developer", paths.Docs), views.DocsView{Lang: "en", Guides: guides, Body: index}),
		"docs-guide": views.Docs(viewer("User guide", "docs", "developer", paths.Guide("user-guide")), views.DocsView{Lang: "en", Guides: guides, Current: 2, Headings: headings, Body: guide}),
	}
}
