/** Style sheet of the page. */
export const PAGE_STYLE = `
:root { font: 14px/1.45 system-ui, sans-serif; color: #1c2430; background: #fff }
body { margin: 0 }
header { padding: 12px 20px; border-bottom: 1px solid #d8dde5 }
h1 { font-size: 18px; margin: 0 0 6px }
h2 { font-size: 14px; margin: 0 0 6px }
.verdict { margin: 0 0 8px; padding: 6px 10px; border-radius: 4px; white-space: pre-wrap; overflow-wrap: anywhere }
.failed { background: #fdecea; border-left: 4px solid #c62828 }
.passed { background: #e9f6ec; border-left: 4px solid #2e7d32 }
dl { display: flex; flex-wrap: wrap; gap: 4px 24px; margin: 0 }
dl div { display: flex; gap: 6px }
dt { color: #5b6675 }
dd { margin: 0; font-variant-numeric: tabular-nums }
main { display: flex; gap: 16px; padding: 12px 20px }
.diagram { flex: 1; min-width: 0; position: relative }
nav { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-bottom: 6px }
button { font: inherit; padding: 2px 10px; border: 1px solid #b6bfcc; border-radius: 4px; background: #f5f7fa; cursor: pointer }
button:hover { background: #e8ecf2 }
#range { font-variant-numeric: tabular-nums }
.legend { color: #5b6675; font-size: 12px }
.legend i { display: inline-block; width: 14px; height: 10px; margin-left: 6px; vertical-align: baseline }
i.down { background: #9aa4b2 } i.frozen { background: #a9c8ef } i.cut { background: #f6c6c6 } i.disk { background: #f3d9a4 } i.link { background: #dccbf0 }
b.operation { color: #2e7d32 } b.node { color: #6a1b9a } b.fault { color: #e65100 } b.violation { color: #c62828 }
canvas { width: 100%; border: 1px solid #d8dde5; cursor: grab; touch-action: none }
#tip { position: absolute; pointer-events: none; background: #1c2430; color: #fff; padding: 4px 8px; border-radius: 4px;
  font-size: 12px; max-width: 420px; white-space: pre-wrap; overflow-wrap: anywhere }
.help { color: #5b6675; font-size: 12px; margin: 4px 0 }
aside { width: 360px; max-height: 80vh; overflow: auto }
ol { margin: 0; padding-left: 28px }
aside button { width: 100%; text-align: left; border: 0; background: none; padding: 1px 4px; font-size: 12px;
  font-family: ui-monospace, monospace; overflow-wrap: anywhere; vertical-align: top }
@media (max-width: 900px) { main { flex-direction: column } aside { width: auto } }
`
