import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { rerun } from './trace-script.js'

const SCRIPTS = join(import.meta.dirname, 'testdata')

/** RAFT_TRACE_UPDATE=1 writes what happens now into the scripts: read the diff before it is committed. */
const UPDATE = process.env.RAFT_TRACE_UPDATE === '1'

t.test('the scripts happen as they are told', async (t) => {
  const names = readdirSync(SCRIPTS).filter((name) => name.endsWith('.txt'))
  t.ok(names.length >= 10)
  for (const name of names) {
    const path = join(SCRIPTS, name)
    const script = readFileSync(path, 'utf8')
    t.match(script, /^# \S/, `${name} opens with its story`)
    const happened = rerun(script)
    if (UPDATE) writeFileSync(path, happened)
    else t.equal(happened, script, name)
  }
})
