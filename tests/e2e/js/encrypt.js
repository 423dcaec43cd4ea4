// SPDX-License-Identifier: Apache-2.0
'use strict'
// node encrypt.js --key ARN [--suite 0478] [--frame-length 4096] [--context JSON] IN OUT
const fs = require('node:fs')
const { pipeline } = require('node:stream/promises')
const { parseArgs } = require('node:util')
const { buildClient, CommitmentPolicy } = require('@aws-crypto/client-node')
const kms = require('./kms')

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    key: { type: 'string' },
    suite: { type: 'string', default: '0478' },
    'frame-length': { type: 'string', default: '4096' },
    context: { type: 'string', default: '{}' }
  }
})

const suiteId = parseInt(values.suite, 16)
const committing = suiteId === 0x0478 || suiteId === 0x0578
const client = buildClient(committing
  ? CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
  : CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)

pipeline(
  fs.createReadStream(positionals[0]),
  client.encryptStream(kms.toEncrypt(values.key), {
    suiteId,
    frameLength: Number(values['frame-length']),
    encryptionContext: JSON.parse(values.context)
  }),
  fs.createWriteStream(positionals[1])
).catch(e => { console.error(e); process.exitCode = 1 })
