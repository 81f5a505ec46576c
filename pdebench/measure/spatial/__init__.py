"""What a token mixer does in space, whatever it is made of: measured from outside, by its derivatives.

`survey.py` measures every mixer of a backbone. All of it rests on one row of blocks of the mixer's Jacobian
(`jacobian.py`): how the output of the token in the centre of the grid, n0, answers to the input of each token m,

    J(m) = d y(n0) / d x(m)      (D, D)

which for a linear, shift-invariant mixer is its Green's function, `J(m) = G(n0 - m)`, and for attention and scans its
linearisation about the given images. From it come the receptive field, the impulse response and the frequency
response. Lengths are in tokens; tokens are counted down and to the right, of a clip first from frame to frame.
Importing this package imports no torch.
"""
