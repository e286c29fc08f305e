'use strict';

const { DaybookError } = require('./lib/errors');
const { Ext, decode, encode } = require('./lib/msgpack');
const { Producer } = require('./lib/producer');
const { Subscriber } = require('./lib/subscriber');
const { cursors, status } = require('./lib/questions');

module.exports = { DaybookError, Ext, Producer, Subscriber, cursors, decode, encode, status };
