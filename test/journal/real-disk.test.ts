import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createRealEnvironment } from '../../src/environment/real-environment.js'
import type { JournalStatus } from '../../src/journal/journal.js'
import { openJournal } from '../../src/journal/open-journal.js'
import { DiskFullError } from '../../src/sync/errors.js'
import { mountSmallDisk } from '../environment/small-disk.js'

const environment = createRealEnvironment()

async function numbersIn(directory: string): Promise<number[]> {
  const numbers: number[] = []
  const { journal } = await openJournal({
    environment,
    directory,
    replay: (records) => {
      for (const { buffer, byteOffset } of records)
        numbers.push(new DataView(buffer, byteOffset).getUint32(0))
    },
  })
  await journal.close()
  return numbers
}

t.test('a process killed with SIGKILL has lost nothing that it had called durable', async (t) => {
  const directory = t.testdir()
  const script = join(fileURLToPath(new URL('.', import.meta.url)), 'journal-process.ts')
  for (const afterMs of [300, 500, 400]) {
    const child = spawn(process.execPath, ['--import=tsx', script, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    let said = ''
    child.stdout.on('data', (text: Uint8Array) => {
      said += String(text)
    })
    await once(child.stdout, 'data')
    await new Promise((resolve) => setTimeout(resolve, afterMs))
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
    // The last line may be cut.
    const durable = Number(said.split('\n').at(-2))
    let newest = 0
    let gaps = 0
    for (const number of await numbersIn(directory)) {
      if (number > newest + 1) gaps += 1
      newest = Math.max(newest, number)
    }
    t.equal(gaps, 0)
    t.ok(durable > 0 && newest >= durable, `${durable} were durable, ${newest} are there`)
  }
})

t.test('a file system without space: refused, kept, written when there is space', async (t) => {
  const directory = mountSmallDisk(t, 4)
  if (directory === undefined) {
    t.pass('this user may not mount; the fake disk covers it')
    return
  }
  const statuses: JournalStatus[] = []
  const { journal } = await openJournal({
    environment,
    directory: `${directory}/journal`,
    replay: () => {},
    onStatus: (status) => statuses.push(status),
  })
  const numbered = (number: number) => {
    const record = new Uint8Array(100_000)
    new DataView(record.buffer).setUint32(0, number)
    return record
  }
  await journal.whenDurable(journal.append([numbered(1)]))
  // The segment has a mebibyte of its own by now; the rest of the records find less than they need.
  fs.writeFileSync(`${directory}/ballast`, Buffer.alloc(2_900_000))
  const waiting = journal.whenDurable(journal.append(range(2, 15).map(numbered)))
  await t.rejects(waiting, DiskFullError)
  t.equal(journal.durable, 1)
  fs.unlinkSync(`${directory}/ballast`)
  // The journal's own timers keep no process alive; this test's do.
  const alive = setInterval(() => {}, 1000)
  await journal.whenDurable(15)
  clearInterval(alive)
  t.same(statuses, ['full', 'ok'])
  await journal.close()
  t.same(await numbersIn(`${directory}/journal`), range(1, 15))
})

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, at) => from + at)
}
