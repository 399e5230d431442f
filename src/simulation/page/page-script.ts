/**
 * Script of the page, plain JavaScript for any browser: draws lanes, shades, arrows and marks of the visible
 * stretch of time on a canvas. Kept as text, since it must travel inside the HTML file.
 */
export const PAGE_SCRIPT = `
'use strict'
const data = JSON.parse(document.getElementById('data').textContent)
const canvas = document.getElementById('canvas')
const tip = document.getElementById('tip')
const draw2d = canvas.getContext('2d')
const LEFT = 110, TOP = 28, LANE = Math.max(34, Math.min(80, 560 / data.servers.length))
const SHADES = { down: '#9aa4b2', frozen: '#a9c8ef', cut: '#f6c6c6', disk: '#f3d9a4', link: '#dccbf0' }
const COLORS = { operation: '#2e7d32', node: '#6a1b9a', fault: '#e65100', violation: '#c62828', phase: '#1c2430' }
const ARROWS = ['#1565c0', '#00838f', '#558b2f', '#ad1457', '#4e342e', '#5e35b1', '#ef6c00', '#37474f']
const MAX_ARROWS = 6000
let from = 0, to = Math.max(1, data.endUs), hot = []
const height = TOP + LANE * data.servers.length + 16
const laneY = (server) => TOP + LANE * server + LANE / 2
const timeX = (us) => LEFT + ((us - from) / (to - from)) * (canvas.clientWidth - LEFT - 12)
const xTime = (x) => from + ((x - LEFT) / (canvas.clientWidth - LEFT - 12)) * (to - from)
const seconds = (us, digits) => (us / 1e6).toFixed(digits) + ' s'

function show(a, b) {
  const span = Math.min(Math.max(b - a, 50), data.endUs * 1.1 + 50)
  const middle = (a + b) / 2
  from = Math.max(-data.endUs * 0.05, middle - span / 2)
  to = from + span
  draw()
}

function draw() {
  const ratio = window.devicePixelRatio || 1
  canvas.style.height = height + 'px'
  canvas.width = canvas.clientWidth * ratio
  canvas.height = height * ratio
  draw2d.setTransform(ratio, 0, 0, ratio, 0, 0)
  draw2d.clearRect(0, 0, canvas.clientWidth, height)
  draw2d.font = '12px system-ui, sans-serif'
  hot = []
  drawGrid()
  draw2d.save()
  draw2d.beginPath()
  draw2d.rect(LEFT, 0, canvas.clientWidth - LEFT, height)
  draw2d.clip()
  drawSpans()
  drawLanes()
  drawMessages()
  drawMarks()
  draw2d.restore()
  const digits = to - from < 100000 ? 5 : 3
  document.getElementById('range').textContent = seconds(from, digits) + ' to ' + seconds(to, digits)
}

function drawGrid() {
  const rough = (to - from) / 8
  const power = Math.pow(10, Math.floor(Math.log10(rough)))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough)
  draw2d.strokeStyle = '#edf0f4'
  draw2d.fillStyle = '#5b6675'
  draw2d.textAlign = 'center'
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    const x = timeX(at)
    draw2d.beginPath()
    draw2d.moveTo(x, TOP - 6)
    draw2d.lineTo(x, height)
    draw2d.stroke()
    draw2d.fillText(seconds(at, step < 1000 ? 6 : step < 1e6 ? 3 : 0), x, 14)
  }
  draw2d.textAlign = 'right'
  draw2d.fillStyle = '#1c2430'
  data.servers.forEach((name, server) => draw2d.fillText(name, LEFT - 10, laneY(server) + 4))
}

function drawLanes() {
  draw2d.strokeStyle = '#1c2430'
  draw2d.lineWidth = 1
  data.servers.forEach((_, server) => {
    draw2d.beginPath()
    draw2d.moveTo(timeX(Math.max(0, from)), laneY(server))
    draw2d.lineTo(timeX(Math.min(data.endUs, to)), laneY(server))
    draw2d.stroke()
  })
}

function drawSpans() {
  for (const span of data.spans) {
    if (span.toUs < from || span.fromUs > to) continue
    const thin = span.kind === 'disk' || span.kind === 'link'
    for (const server of span.servers) {
      const x = timeX(span.fromUs), width = Math.max(1, timeX(span.toUs) - x)
      const y = laneY(server) - LANE / 2 + 2
      draw2d.globalAlpha = 0.6
      draw2d.fillStyle = SHADES[span.kind]
      draw2d.fillRect(x, thin ? y + LANE - 12 : y, width, thin ? 8 : LANE - 4)
      draw2d.globalAlpha = 1
      hot.push({ area: [x, y, x + width, y + LANE - 4], weak: true, text: span.label + '\\n' + seconds(span.fromUs, 3) + ' to ' + seconds(span.toUs, 3) })
    }
  }
}

function drawMessages() {
  const visible = data.messages.filter((message) => message[3] >= from && message[2] <= to)
  const every = Math.ceil(visible.length / MAX_ARROWS)
  draw2d.globalAlpha = visible.length > 2000 ? 0.25 : visible.length > 400 ? 0.5 : 0.85
  for (let at = 0; at < visible.length; at += every) {
    const [source, target, sentUs, receivedUs, bytes, label] = visible[at]
    const x1 = timeX(sentUs), y1 = laneY(source), x2 = timeX(receivedUs), y2 = laneY(target)
    draw2d.strokeStyle = draw2d.fillStyle = ARROWS[label % ARROWS.length]
    draw2d.beginPath()
    draw2d.moveTo(x1, y1)
    draw2d.lineTo(x2, y2)
    draw2d.stroke()
    const angle = Math.atan2(y2 - y1, x2 - x1)
    draw2d.beginPath()
    draw2d.moveTo(x2, y2)
    draw2d.lineTo(x2 - 7 * Math.cos(angle - 0.4), y2 - 7 * Math.sin(angle - 0.4))
    draw2d.lineTo(x2 - 7 * Math.cos(angle + 0.4), y2 - 7 * Math.sin(angle + 0.4))
    draw2d.fill()
    hot.push({ line: [x1, y1, x2, y2], text: data.labels[label] + ', ' + bytes + ' bytes\\n' + data.servers[source] + ' ' + seconds(sentUs, 6) + ' to ' + data.servers[target] + ' ' + seconds(receivedUs, 6) })
  }
  draw2d.globalAlpha = 1
}

function drawMarks() {
  let phases = 0
  for (const mark of data.marks) {
    if (mark.atUs < from || mark.atUs > to) continue
    const x = timeX(mark.atUs)
    const lanes = mark.server === undefined || mark.server === null ? data.servers.map((_, server) => server) : [mark.server]
    draw2d.fillStyle = draw2d.strokeStyle = COLORS[mark.kind]
    if (mark.kind === 'violation' || mark.kind === 'phase') {
      draw2d.setLineDash(mark.kind === 'phase' ? [4, 4] : [])
      draw2d.beginPath()
      draw2d.moveTo(x, TOP - 8)
      draw2d.lineTo(x, height)
      draw2d.stroke()
      draw2d.setLineDash([])
      draw2d.textAlign = x > canvas.clientWidth - 160 ? 'right' : 'left'
      draw2d.fillText(' ' + mark.label.slice(0, 40) + ' ', x, TOP + (mark.kind === 'phase' ? (phases++ % 2) * 13 : -2))
    }
    for (const server of lanes) {
      const y = laneY(server)
      if (mark.kind === 'violation') drawCross(x, y)
      else if (mark.kind === 'fault') drawTriangle(x, y)
      else if (mark.kind !== 'phase') {
        draw2d.beginPath()
        draw2d.arc(x, y, 3, 0, 7)
        draw2d.fill()
      }
      hot.push({ point: [x, y], text: mark.label + '\\n' + seconds(mark.atUs, 6) })
    }
  }
}

function drawCross(x, y) {
  draw2d.lineWidth = 3
  draw2d.beginPath()
  draw2d.moveTo(x - 6, y - 6)
  draw2d.lineTo(x + 6, y + 6)
  draw2d.moveTo(x + 6, y - 6)
  draw2d.lineTo(x - 6, y + 6)
  draw2d.stroke()
  draw2d.lineWidth = 1
}

function drawTriangle(x, y) {
  draw2d.beginPath()
  draw2d.moveTo(x, y - 6)
  draw2d.lineTo(x + 5, y + 4)
  draw2d.lineTo(x - 5, y + 4)
  draw2d.fill()
}

function distance(x, y, [x1, y1, x2, y2]) {
  const length = (x2 - x1) ** 2 + (y2 - y1) ** 2
  const along = length === 0 ? 0 : Math.max(0, Math.min(1, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length))
  return Math.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1))
}

function nearest(x, y) {
  let best, bestDistance = 7
  for (const item of hot) {
    const away = item.point ? Math.hypot(x - item.point[0], y - item.point[1]) - 3
      : item.line ? distance(x, y, item.line)
      : x >= item.area[0] && x <= item.area[2] && y >= item.area[1] && y <= item.area[3] ? 6.9 : 99
    if (away < bestDistance) { best = item; bestDistance = away }
  }
  return best
}

let dragged
canvas.addEventListener('pointerdown', (event) => { dragged = { x: event.clientX, from, to }; canvas.setPointerCapture(event.pointerId) })
canvas.addEventListener('pointerup', () => { dragged = undefined })
canvas.addEventListener('pointermove', (event) => {
  if (dragged) {
    const shift = ((dragged.x - event.clientX) / (canvas.clientWidth - LEFT)) * (dragged.to - dragged.from)
    from = dragged.from + shift
    to = dragged.to + shift
    draw()
    return
  }
  const item = nearest(event.offsetX, event.offsetY)
  tip.hidden = !item
  if (!item) return
  tip.textContent = item.text
  tip.style.left = Math.min(event.offsetX + 14, canvas.clientWidth - 260) + 'px'
  tip.style.top = canvas.offsetTop + event.offsetY + 14 + 'px'
})
canvas.addEventListener('pointerleave', () => { tip.hidden = true })
canvas.addEventListener('wheel', (event) => {
  event.preventDefault()
  const center = xTime(event.offsetX), factor = event.deltaY > 0 ? 1.25 : 0.8
  from = center - (center - from) * factor
  to = Math.max(from + 50, center + (to - center) * factor)
  draw()
}, { passive: false })
const zoom = (factor) => () => { const middle = (from + to) / 2, half = ((to - from) / 2) * factor; show(middle - half, middle + half) }
document.getElementById('in').onclick = zoom(0.5)
document.getElementById('out').onclick = zoom(2)
document.getElementById('whole').onclick = () => show(0, data.endUs)
const violationButton = document.getElementById('violation')
violationButton.hidden = data.violationUs === undefined
violationButton.onclick = () => show(data.violationUs - 1e6, data.violationUs + 2e5)
for (const button of document.querySelectorAll('[data-at]')) button.onclick = () => { const at = Number(button.dataset.at); show(at - 5e5, at + 5e5) }
window.addEventListener('resize', draw)
if (data.violationUs === undefined) show(0, data.endUs)
else show(data.violationUs - 1e6, data.violationUs + 2e5)
`
