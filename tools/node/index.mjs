import daybook from './index.js';

export const { DaybookError, Ext, Producer, Subscriber, cursors, decode, encode, status } = daybook;
export default daybook;
