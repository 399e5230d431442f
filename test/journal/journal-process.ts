/**
 * A process of its own that journals numbered records as fast as it can and prints the number up to which
 * they are durable; it also takes snapshots. It goes on until it is killed.
 */
import { createRealEnvironment } from '../../src/environment/real-environment.js'
import type { Journal } from '../../src/journal/journal.js'
import { openJournal } from '../../src/journal/open-journal.js'

function record(number: number): Uint8Array {
  const bytes = new Uint8Array(60)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}

async function snapshot(journal: Journal, newest: () => number): Promise<void> {
  const writer = await journal.beginSnapshot()
  for (let number = 1; number <= newest(); number += 100)
    await writer.write(
      Array.from({ length: 100 }, (_, at) => record(number + at)).slice(0, newest() - number + 1),
    )
  await writer.commit()
}

async function main(directory: string): Promise<void> {
  let newest = 0
  const { journal } = await openJournal({
    environment: createRealEnvironment(),
    directory,
    replay: (records) => {
      for (const { buffer, byteOffset } of records)
        newest = Math.max(newest, new DataView(buffer, byteOffset).getUint32(0))
    },
  })
  const base = newest
  for (;;) {
    const count = 1 + (newest % 50)
    journal.append(Array.from({ length: count }, (_, at) => record(newest + 1 + at)))
    newest += count
    if (newest % 3 === 0) await journal.whenDurable(journal.appended)
    if (newest % 997 === 0) await snapshot(journal, () => newest)
    process.stdout.write(`${base + journal.durable}\n`)
  }
}

void main(process.argv[2] ?? '')
