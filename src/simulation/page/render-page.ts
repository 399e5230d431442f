import type { RecordedTrace } from '../trace/recorder.js'
import { PAGE_SCRIPT } from './page-script.js'
import { PAGE_STYLE } from './page-style.js'

export interface PageContent {
  readonly title: string
  readonly seed: string
  readonly traceHash: string
  /** Names of the servers, by number. */
  readonly servers: readonly string[]
  /** Facts about the run, shown as name and value. */
  readonly facts: Readonly<Record<string, string>>
  /** The faults that were applied, one line each, with the time that a click jumps to. */
  readonly faults: readonly { readonly atUs: number; readonly text: string }[]
  readonly violation:
    | { readonly invariant: string; readonly detail: string; readonly atUs: number }
    | undefined
  readonly endUs: number
  readonly trace: RecordedTrace
}

/** One HTML file with everything in it: no request leaves it, so it can be attached to a bug report. */
export function renderPage(content: PageContent): string {
  const { violation } = content
  const verdict =
    violation === undefined
      ? '<p class="verdict passed">No invariant was violated.</p>'
      : `<p class="verdict failed"><b>${escapeHtml(violation.invariant)}</b> ${escapeHtml(violation.detail)}</p>`
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(content.title)}</title>
<style>${PAGE_STYLE}</style>
<header>
<h1>${escapeHtml(content.title)}</h1>
${verdict}
<dl>${Object.entries(content.facts).map(fact).join('')}</dl>
</header>
<main>
<section class="diagram">
<nav>
<button id="whole">whole run</button>
<button id="violation">violation</button>
<button id="out">zoom out</button>
<button id="in">zoom in</button>
<span id="range"></span>
<span class="legend">
<i class="down"></i>down <i class="frozen"></i>frozen <i class="cut"></i>cut off <i class="disk"></i>disk
<i class="link"></i>link <b class="operation">●</b> operation <b class="node">●</b> node <b class="fault">▲</b> fault
<b class="violation">✖</b> violation
</span>
</nav>
<canvas id="canvas" tabindex="0" aria-label="space-time diagram: servers as lanes, time to the right"></canvas>
<div id="tip" hidden></div>
<p class="help">Wheel: zoom. Drag: move. Point at an arrow or a mark to read it.
${content.trace.droppedMessages > 0 ? `The oldest ${content.trace.droppedMessages} messages are not in this file.` : ''}</p>
</section>
<aside>
<h2>Faults (${content.faults.length})</h2>
<ol>${content.faults.map(({ atUs, text }) => `<li><button data-at="${atUs}">${escapeHtml(text)}</button></li>`).join('\n')}</ol>
</aside>
</main>
<script type="application/json" id="data">${dataOf(content)}</script>
<script>${PAGE_SCRIPT}</script>
</html>
`
}

function fact([name, value]: [string, string]): string {
  return `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`
}

/** Messages as arrays: tens of thousands of them make up most of the file. */
function dataOf(content: PageContent): string {
  const { trace, servers, violation, endUs } = content
  const labels = [...new Set(trace.messages.map((message) => message.label))]
  const position = new Map(labels.map((label, at) => [label, at]))
  const messages = trace.messages.map(({ from, to, sentUs, receivedUs, bytes, label }) => [
    from,
    to,
    sentUs,
    receivedUs,
    bytes,
    position.get(label),
  ])
  const data = {
    servers,
    endUs,
    violationUs: violation?.atUs,
    labels,
    messages,
    spans: trace.spans,
    marks: trace.marks,
  }
  // Inside a script element only '<' could end the data early.
  return JSON.stringify(data).replaceAll('<', '\\u003c')
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
