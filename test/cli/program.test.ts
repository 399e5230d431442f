import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import t from 'tap'
import { CONFIG_KEYS, parseConfig } from '../../src/cli/config-file.js'
import { exitCodeOf } from '../../src/cli/exit-codes.js'
import { decodeToken, encodeToken } from '../../src/cli/token.js'
import * as errors from '../../src/sync/errors.js'
import { SiloMeshError } from '../../src/sync/errors.js'
import { silo, temporaryDirectory } from './harness.js'

t.test('help says what there is, on stdout, and every exit code', async (t) => {
  const { exitCode, stdout, stderr } = await silo(['--help'])
  t.equal(exitCode, 0)
  t.equal(stderr, '')
  for (const command of ['init', 'join', 'invite', 'status', 'members', 'storage', 'watch', 'demo'])
    t.match(stdout, new RegExp(`^  ${command} `, 'm'))
  for (const code of [0, 1, 64, 69, 70, 75, 77, 78]) t.match(stdout, new RegExp(`^  ${code} `, 'm'))
  const join = await silo(['join', '--help'])
  t.match(join.stdout, /SILO_MESH_TOKEN/, 'says how to keep the token out of the process list')
  t.match(join.stdout, /stdin/)
  const init = await silo(['init', '--help'])
  const manual = await readFile(new URL('../../docs/cli.md', import.meta.url), 'utf8')
  for (const key of Object.keys(CONFIG_KEYS)) t.ok(manual.includes(`\`${key}\``), `docs/cli.md has ${key}`)
  for (const key of Object.keys(CONFIG_KEYS))
    t.match(init.stdout, new RegExp(`^  ${key} `, 'm'), `documents ${key}`)
})

t.test('a line that is typed wrongly is exit code 64, with nothing on stdout', async (t) => {
  const lines = [
    [],
    ['nonsense'],
    ['--nonsense'],
    ['init'],
    ['init', '--cluster', 'a'],
    ['init', '--cluster', 'a', '--server', 'b', '--listen', 'nowhere'],
    ['init', '--cluster', 'a', '--server', 'b', '--listen', 'host:70000'],
    ['join', 'token', '--server', 'x', '--data-dir', '/nonexistent/x'],
    ['join', 'token', '--log-level', 'loud'],
    ['storage'],
    ['storage', 'show'],
    ['storage', 'deposit', 'vault', 'minecraft:stone'],
    ['storage', 'deposit', 'vault', 'minecraft:stone', '-5'],
    ['storage', 'deposit', 'vault', 'minecraft:stone', '1.5'],
    ['storage', 'deposit', 'vault', 'minecraft:stone', 'NaN'],
    ['storage', 'deposit', 'vault', 'minecraft:stone', '1', '--level', 'SOME'],
    ['storage', 'deposit', 'vault', 'minecraft:stone', '1', '--timeout-ms', '0'],
    ['demo', '--seconds', 'many'],
    ['demo', '--seconds', '1000'],
    ['demo', '--seed', '-1'],
  ]
  for (const words of lines) {
    const { exitCode, stdout, stderr } = await silo(words)
    t.equal(exitCode, 64, words.join(' '))
    t.equal(stdout, '')
    t.not(stderr, '', 'says what is wrong')
  }
})

t.test('every error of the program has an exit code that is documented', async (t) => {
  const documented = [64, 69, 70, 75, 77, 78]
  for (const [name, Class] of Object.entries(errors)) {
    if (typeof Class !== 'function' || !(Class.prototype instanceof SiloMeshError)) continue
    const error = construct(Class as unknown as new () => SiloMeshError)
    t.ok(documented.includes(exitCodeOf(error)), `${name}: ${exitCodeOf(error)}`)
  }
  t.equal(exitCodeOf(new errors.ConfigError('')), 78)
  t.equal(exitCodeOf(new errors.NoNodeError('')), 69)
  t.equal(exitCodeOf(new errors.InsufficientQuantityError(2n, 1n, 'a:b')), 77)
  t.equal(exitCodeOf(new errors.OverloadedError('')), 75)
  t.equal(exitCodeOf(new errors.LevelNotReachedError('QUORUM', 1, 2, '')), 75)
  t.equal(exitCodeOf(new TypeError('')), 70)
})

t.test('init founds once, with private files, and says what to do next', async (t) => {
  const home = `${await temporaryDirectory(t)}/lobby-1`
  const words = ['init', '--cluster', 'sky', '--server', 'lobby-1', '--data-dir', home]
  const { exitCode, stdout } = await silo(words)
  t.equal(exitCode, 0)
  t.match(stdout, `silo-mesh join --data-dir ${home}`)
  t.equal((await stat(home)).mode & 0o777, 0o700)
  for (const name of ['mesh.key', 'config.json'])
    t.equal((await stat(`${home}/${name}`)).mode & 0o777, 0o600, name)
  const key = await readFile(`${home}/mesh.key`, 'utf8')
  t.match(key, /^[0-9a-f]{64}\n$/)
  t.notMatch(stdout, key.trim(), 'the secret is not printed')
  const again = await silo(words)
  t.equal(again.exitCode, 77)
  t.match(again.stderr, /exists/)
  t.equal(await readFile(`${home}/mesh.key`, 'utf8'), key, 'the key stays')
  const nobody = await silo(['status', '--data-dir', home])
  t.equal(nobody.exitCode, 69)
  t.match(nobody.stderr, `silo-mesh join --data-dir ${home}`, 'says how to start one')
})

t.test('init refuses names and addresses that a node would refuse, and leaves nothing behind', async (t) => {
  const home = `${await temporaryDirectory(t)}/new`
  const common = ['--data-dir', home, '--json']
  t.equal((await silo(['init', '--cluster', 'a/b', '--server', 'x', ...common])).exitCode, 78)
  t.equal((await silo(['init', '--cluster', 'a', '--server', '', ...common])).exitCode, 78)
  const wildcard = await silo([
    'init',
    '--cluster',
    'a',
    '--server',
    'x',
    '--listen',
    '0.0.0.0:7001',
    ...common,
  ])
  t.equal(wildcard.exitCode, 78)
  t.match(wildcard.stderr, /advertise/)
  await t.rejects(stat(home), { code: 'ENOENT' })
})

t.test('the data directory is found, or asked for', async (t) => {
  const root = await temporaryDirectory(t)
  const before = process.cwd()
  process.chdir(root)
  t.teardown(() => process.chdir(before))
  t.match(await silo(['status']), { exitCode: 64, stderr: /no data directory here/ })
  await silo(['init', '--cluster', 'sky', '--server', 'one'])
  t.match(await silo(['status']), { exitCode: 69, stderr: /data\/one/ }, 'the only one')
  await silo(['init', '--cluster', 'sky', '--server', 'two'])
  t.match(
    await silo(['status']),
    { exitCode: 64, stderr: /data\/one, data\/two/ },
    'which of two is for the user to say',
  )
  t.match(await silo(['status'], { variables: { SILO_MESH_DATA_DIR: 'data/two' } }), {
    exitCode: 69,
    stderr: /two/,
  })
  t.match(await silo(['join', '--data-dir', 'data/none']), { exitCode: 78, stderr: /has no config.json/ })
})

t.test('a config file is checked key by key', async (t) => {
  const good = { cluster_id: 'sky', server_id: 'one', secret_file: 'mesh.key' }
  t.strictSame(parseConfig('h', JSON.stringify(good)), good)
  const bad: [object, RegExp][] = [
    [{ ...good, colour: 'red' }, /colour.*known keys.*server_id/],
    [{ ...good, listen: { host: 'a', port: 1, tls: true } }, /listen\.tls/],
    [{ cluster_id: 'sky', server_id: 'one' }, /secret_file/],
    [{ ...good, sync_interval_ms: '1s' }, /sync_interval_ms/],
    [{ ...good, sync_interval_ms: 0.5 }, /sync_interval_ms/],
    [{ ...good, heartbeat_interval_ms: 1 }, /heartbeat_interval_ms/],
    [{ ...good, durability: 'memory' }, /durability/],
    [{ ...good, peers: ['http://a:1'] }, /peers/],
    [{ ...good, listen: { host: '::', port: 1 } }, /advertise/],
    [[good], /cluster_id/],
  ]
  for (const [value, message] of bad) {
    t.throws(
      () => parseConfig('h', JSON.stringify(value)),
      { code: 'CONFIG_INVALID', message },
      String(message),
    )
  }
  t.throws(() => parseConfig('h', '{'), { code: 'CONFIG_INVALID', message: /h\/config\.json is not JSON/ })
  const home = await temporaryDirectory(t)
  await writeFile(`${home}/config.json`, JSON.stringify({ ...good, colour: 'red' }))
  t.match(await silo(['join', '--data-dir', home]), { exitCode: 78, stderr: /colour/ })
  await writeFile(`${home}/config.json`, JSON.stringify(good))
  t.match(await silo(['join', '--data-dir', home]), {
    exitCode: 78,
    stderr: /secret file .*mesh\.key does not exist/,
  })
})

t.test(
  'an invite token holds what it was made of, and a damaged one is refused without repeating it',
  async (t) => {
    const secret = Uint8Array.from({ length: 32 }, (_, position) => position)
    const invitation = { clusterId: 'sky', addresses: ['ws://127.0.0.1:7001', 'ws://[::1]:7002'], secret }
    const token = encodeToken(invitation)
    t.match(token, /^[\w.-]+$/, 'one word for every shell')
    t.strictSame(decodeToken(`${token}\n`), invitation)
    const other = token.replace(/.(?=\.\w+$)/, (letter) => (letter === 'A' ? 'B' : 'A'))
    for (const bad of [
      '',
      'x',
      token.slice(0, -1),
      token.slice(0, 40),
      other,
      `${token}.x`,
      token.replace('1', '2'),
      'x'.repeat(9_000),
    ]) {
      t.throws(() => decodeToken(bad), { code: 'USAGE' })
      const home = `${await temporaryDirectory(t)}/x`
      const { exitCode, stderr } = await silo(['join', '-', '--server', 'x', '--data-dir', home], {
        stdin: bad,
      })
      t.equal(exitCode, 64)
      if (bad.length > 40) t.notMatch(stderr, bad.slice(12, 40))
      await t.rejects(stat(home), { code: 'ENOENT' })
    }
    t.match(await silo(['join', token]), { exitCode: 64, stderr: /--server/ })
  },
)

t.test('a token does not take over the data directory of another mesh or server', async (t) => {
  const home = `${await temporaryDirectory(t)}/x`
  await silo(['init', '--cluster', 'sky', '--server', 'x', '--data-dir', home])
  const secret = Uint8Array.from(Buffer.from((await readFile(`${home}/mesh.key`, 'utf8')).trim(), 'hex'))
  const addresses = ['ws://127.0.0.1:1']
  const enter = (token: string, server: string) =>
    silo(['join', token, '--server', server, '--data-dir', home])
  const before = await readFile(`${home}/config.json`, 'utf8')
  t.match(await enter(encodeToken({ clusterId: 'sea', addresses, secret }), 'x'), {
    exitCode: 78,
    stderr: /another mesh/,
  })
  t.match(await enter(encodeToken({ clusterId: 'sky', addresses, secret: new Uint8Array(32) }), 'x'), {
    exitCode: 78,
  })
  t.match(await enter(encodeToken({ clusterId: 'sky', addresses, secret }), 'y'), {
    exitCode: 78,
    stderr: /server x/,
  })
  t.equal(await readFile(`${home}/config.json`, 'utf8'), before)
})

t.test('colours are for terminals, and NO_COLOR is obeyed', async (t) => {
  const words = ['status', '--data-dir', await temporaryDirectory(t)]
  const colour = '\u001b['
  t.ok((await silo(words, { isTTY: true })).stderr.includes(colour))
  t.notOk((await silo(words, { isTTY: true, variables: { NO_COLOR: '1' } })).stderr.includes(colour))
  t.notOk((await silo(words, { isTTY: true, variables: { TERM: 'dumb' } })).stderr.includes(colour))
  t.notOk((await silo(words)).stderr.includes(colour))
})

t.test('a key file that is there is used, one that is none is not overwritten', async (t) => {
  const root = await temporaryDirectory(t)
  await mkdir(`${root}/a`)
  await writeFile(`${root}/a/mesh.key`, 'f'.repeat(64))
  t.equal((await silo(['init', '--cluster', 'c', '--server', 's', '--data-dir', `${root}/a`])).exitCode, 0)
  t.equal(await readFile(`${root}/a/mesh.key`, 'utf8'), 'f'.repeat(64))
  await mkdir(`${root}/b`)
  await writeFile(`${root}/b/mesh.key`, 'my holiday photos')
  t.equal((await silo(['init', '--cluster', 'c', '--server', 's', '--data-dir', `${root}/b`])).exitCode, 77)
  t.equal(await readFile(`${root}/b/mesh.key`, 'utf8'), 'my holiday photos')
})

/** Constructors differ; the code of an error does not depend on what it is given. */
function construct(Class: new () => SiloMeshError): SiloMeshError {
  for (const args of [
    ['a', 'b', 'c', 'd', 'e'],
    [1n, 1n, 1n, [], 'item'],
    [1n, 1n, 'item', [], []],
  ]) {
    try {
      return Reflect.construct(Class, args)
    } catch {
      // The next list may fit.
    }
  }
  throw new Error(`no arguments fit ${Class.name}`)
}
